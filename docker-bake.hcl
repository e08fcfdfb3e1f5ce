# What can be built: one row per Ubuntu release of a version that its vendor publishes.
#
#   cargo xtask bake --list                        every variant with its base
#   cargo xtask bake cuda-12.1-runtime-22.04       the newest listed patch of CUDA 12.1
#   docker buildx bake --file docker-bake.hcl cuda-12.1.1-runtime-22.04
#
# Always pass --file: without it, bake merges the compose files in. Rows instead of axes, because the upstream grid has
# holes: what a vendor skips is a row or a flavour that is not here. Works from buildx 0.13 on, so variables have no types.
# What only a release needs (attestations, cache export, platforms) is not here: the plain docker driver refuses it.

# Where the images go: a repository without a tag; put a registry host in front of it to push.
variable "LEONARDO_IMAGE" {
  default = "leonardo/base-image"
}

# The commit and the version that the labels name; an empty one leaves its label out.
variable "LEONARDO_REVISION" {
  default = ""
}

variable "LEONARDO_VERSION" {
  default = ""
}

# The base of cpu-debian-12, the one variant that can be built without a container registry: `cargo xtask` names an image
# here that it bootstrapped from Debian's package archive.
variable "LEONARDO_DEBIAN_BASE" {
  default = "debian:12-slim"
}

# The rows. Each names the flavours it exists in: `flavours` as they are, `with_cudnn` again with cuDNN (NVIDIA publishes
# no base with cuDNN). `cudnn` is the word in our tag, which always has the number; `upstream` is the word in NVIDIA's,
# which is no function of the version: cudnn8 up to 12.2.2, cudnn9 for 12.3.2 alone, and a bare cudnn since 12.4.1.
#
# Which patch: the newest that has been seen upstream in every flavour. That is 12.9.2, 13.0.3 and 13.3.1; of CUDA 12.8 it
# is 12.8.1, because no cuDNN image of 12.8.2 has been seen. Ubuntu 26.04 begins with CUDA 13.3.
#
# Legacy, not built: NVIDIA has ended these and may delete them at any time. A row revives one while its base lasts:
#   11.7.1, 12.0.1, 12.2.2   22.04          upstream cudnn8, ours cudnn8
#   12.3.2                   22.04          upstream cudnn9, ours cudnn9
#   12.5.1                   22.04, 24.04   upstream cudnn, ours cudnn9; on 24.04 without cuDNN
variable "LEONARDO_CUDA_ROWS" {
  default = [
    { version = "11.8.0", release = "22.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn8", upstream = "cudnn8" },
    { version = "12.1.1", release = "22.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn8", upstream = "cudnn8" },
    { version = "12.4.1", release = "22.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "12.6.3", release = "22.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "12.6.3", release = "24.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "12.8.1", release = "22.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "12.8.1", release = "24.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "12.9.2", release = "22.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "12.9.2", release = "24.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "13.0.3", release = "22.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "13.0.3", release = "24.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "13.3.1", release = "24.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
    { version = "13.3.1", release = "26.04", flavours = ["base", "runtime", "devel"], with_cudnn = ["runtime", "devel"], cudnn = "cudnn9", upstream = "cudnn" },
  ]
}

# ROCm comes from AMD's apt repository on top of Ubuntu. The version is a path there, and AMD writes 7.2, not 7.2.0.
variable "LEONARDO_ROCM_ROWS" {
  default = [
    { version = "6.2.4", release = "22.04", flavours = ["core", "runtime", "devel"] },
    { version = "6.2.4", release = "24.04", flavours = ["core", "runtime", "devel"] },
    { version = "6.4.1", release = "22.04", flavours = ["core", "runtime", "devel"] },
    { version = "6.4.1", release = "24.04", flavours = ["core", "runtime", "devel"] },
    { version = "7.2.4", release = "22.04", flavours = ["core", "runtime", "devel"] },
    { version = "7.2.4", release = "24.04", flavours = ["core", "runtime", "devel"] },
  ]
}

variable "LEONARDO_CPU_ROWS" {
  default = [
    { release = "22.04" },
    { release = "24.04" },
    { release = "debian-12" },
  ]
}

# The rows spread out: one object per image, all of one shape, empty where a family has no such part.
variable "LEONARDO_VARIANTS" {
  default = concat(
    [for row in LEONARDO_CPU_ROWS : { family = "cpu", version = "", cudnn = "", upstream = "", flavour = "", release = row.release }],
    flatten([for row in LEONARDO_CUDA_ROWS : concat(
      [for flavour in row.flavours : { family = "cuda", version = row.version, cudnn = "", upstream = "", flavour = flavour, release = row.release }],
      [for flavour in row.with_cudnn : { family = "cuda", version = row.version, cudnn = row.cudnn, upstream = row.upstream, flavour = flavour, release = row.release }],
    )]),
    flatten([for row in LEONARDO_ROCM_ROWS : [
      for flavour in row.flavours : { family = "rocm", version = row.version, cudnn = "", upstream = "", flavour = flavour, release = row.release }
    ]]),
  )
}

function "tag" {
  params = [variant]
  result = join("-", compact([variant.family, variant.version, variant.cudnn, variant.flavour, variant.release]))
}

# Names cannot hold dots, but bake turns the dots of a typed name into underscores: each target answers to its own tag.
function "target_name" {
  params = [variant]
  result = replace(tag(variant), ".", "_")
}

function "base" {
  params = [variant]
  result = (
    variant.family == "cuda" ? "nvidia/cuda:${join("-", compact([variant.version, variant.upstream, variant.flavour, "ubuntu${variant.release}"]))}" :
    variant.release == "debian-12" ? LEONARDO_DEBIAN_BASE :
    "ubuntu:${variant.release}"
  )
}

function "targets_of" {
  params = [family]
  result = [for variant in LEONARDO_VARIANTS : target_name(variant) if variant.family == family]
}

target "_common" {
  context    = "."
  dockerfile = "images/base/Dockerfile"
  labels = {
    "org.opencontainers.image.title"       = "Leonardo base image"
    "org.opencontainers.image.description" = "A GPU-cloud container that behaves like a small, safe, self-explaining server"
    "org.opencontainers.image.source"      = "https://github.com/leonardo-base/base-image"
    "org.opencontainers.image.licenses"    = "Apache-2.0"
    "org.opencontainers.image.revision"    = LEONARDO_REVISION != "" ? LEONARDO_REVISION : null
    "org.opencontainers.image.version"     = LEONARDO_VERSION != "" ? LEONARDO_VERSION : null
  }
}

# A target with a matrix is also a group of its name: this is the group `all`. An argument or label that is null is left out.
target "all" {
  matrix = {
    variant = LEONARDO_VARIANTS
  }
  inherits = ["_common"]
  name     = target_name(variant)
  tags     = ["${LEONARDO_IMAGE}:${tag(variant)}"]
  args = {
    IMAGE_BASE   = base(variant)
    ACCELERATOR  = variant.family
    ROCM_VERSION = variant.family == "rocm" ? variant.version : null
    ROCM_FLAVOUR = variant.family == "rocm" ? variant.flavour : null
  }
  labels = {
    "org.opencontainers.image.base.name" = base(variant)
  }
}

group "cpu" {
  targets = targets_of("cpu")
}

group "cuda" {
  targets = targets_of("cuda")
}

group "rocm" {
  targets = targets_of("rocm")
}

group "default" {
  targets = ["cpu-22_04"]
}
