# All variants: one row for each Ubuntu release of a version that its vendor publishes.
#
#   cargo xtask bake --list                        every variant with its base
#   cargo xtask bake cuda-12.1-runtime-22.04       the newest listed patch of CUDA 12.1
#   docker buildx bake --file docker-bake.hcl cuda-12.1.1-runtime-22.04
#
#   cargo xtask bake jupyter-cpu-24.04             an extended image on a variant of the base image
#
# Always pass --file: without it, bake merges the compose files in. Rows instead of axes, because the upstream grid has
# holes: a combination that a vendor skips has no row or flavour here. Requires buildx 0.13, so variables have no types.
# Options of releases only (attestations, cache export, platforms) are not here: the plain docker driver refuses them.

# Repository of the base image, without a tag; prefix it with a registry host to push. An extended image is in the
# repository of its name beside it: leonardo/jupyter.
variable "LEONARDO_IMAGE" {
  default = "leonardo/base-image"
}

# Commit and version for the labels; an empty value omits its label.
variable "LEONARDO_REVISION" {
  default = ""
}

variable "LEONARDO_VERSION" {
  default = ""
}

# Digests of the base images by reference. docker-bake.lock.hcl holds them: name it too (`--file docker-bake.lock.hcl`), or use
# `cargo xtask bake --locked`.
variable "LEONARDO_BASE_DIGESTS" {
  default = {}
}

# Each row lists its flavours: `flavours` without cuDNN, `with_cudnn` with it (NVIDIA publishes no base flavour with cuDNN).
# `cudnn` is the part of our tag, always with the number; `upstream` is the part of NVIDIA's tag, which does not follow from
# the version: cudnn8 up to 12.2.2, cudnn9 for 12.3.2 alone, and cudnn without a number since 12.4.1.
#
# Patch versions: the newest one that upstream publishes in every flavour. That is 12.9.2, 13.0.3 and 13.3.1; for CUDA 12.8
# it is 12.8.1, because no cuDNN image of 12.8.2 was found. Ubuntu 26.04 starts with CUDA 13.3.
#
# Legacy, not built: NVIDIA no longer supports these and may delete them at any time. A row enables one while its base exists:
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

# Extended images, one row each: the folder images/NAME with a Dockerfile that begins with "FROM base". `on` lists the variants
# of the base image that it is built on; `sources` is a named context of its own, pinned by a commit (ComfyUI v0.28.2); `torch`
# passes the index of PyTorch's wheels.
variable "LEONARDO_EXTENDED_ROWS" {
  default = [
    { name = "jupyter", title = "JupyterLab", on = ["cpu-22.04", "cpu-24.04", "cpu-debian-12", "cuda-12.8.1-runtime-22.04", "cuda-13.0.3-runtime-24.04", "rocm-7.2.4-runtime-24.04"], sources = {}, torch = false },
    { name = "comfyui", title = "ComfyUI", on = ["cpu-24.04", "cpu-debian-12", "cuda-12.8.1-runtime-24.04", "cuda-13.0.3-runtime-24.04", "rocm-6.4.1-runtime-24.04"], sources = { comfyui = "https://github.com/Comfy-Org/ComfyUI.git#306af3a8771a8232d26bd20acbfc6b07f862ad2b" }, torch = true },
  ]
}

# The rows expanded: one object per image, all with the same fields; a field that a family does not use is empty.
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

variable "LEONARDO_EXTENDED" {
  default = flatten([for row in LEONARDO_EXTENDED_ROWS : [
    for tag in row.on : { name = row.name, title = row.title, tag = tag, target = replace(tag, ".", "_"), sources = row.sources, torch = row.torch }
  ]])
}

function "tag" {
  params = [variant]
  result = join("-", compact([variant.family, variant.version, variant.cudnn, variant.flavour, variant.release]))
}

# Target names cannot contain dots, but bake replaces the dots of a name on the command line by underscores, so a target can
# be called by its tag.
function "target_name" {
  params = [variant]
  result = replace(tag(variant), ".", "_")
}

function "base" {
  params = [variant]
  result = (
    variant.family == "cuda" ? "nvidia/cuda:${join("-", compact([variant.version, variant.upstream, variant.flavour, "ubuntu${variant.release}"]))}" :
    variant.release == "debian-12" ? "debian:12-slim" :
    "ubuntu:${variant.release}"
  )
}

# The image with its digest where the lock file has one.
function "locked" {
  params = [image]
  result = join("@", compact([image, lookup(LEONARDO_BASE_DIGESTS, image, "")]))
}

function "targets_of" {
  params = [family]
  result = [for variant in LEONARDO_VARIANTS : target_name(variant) if variant.family == family]
}

function "flavoured_targets" {
  params = [flavour]
  result = [for variant in LEONARDO_VARIANTS : target_name(variant) if variant.flavour == flavour]
}

function "extended_targets" {
  params = [name]
  result = [for image in LEONARDO_EXTENDED : "${image.name}-${image.target}" if image.name == name]
}

# cuda-12.8.1-… is cu128 there, rocm-6.4.1-… is rocm6.4.
function "torch_index" {
  params = [tag]
  result = "https://download.pytorch.org/whl/${regex_replace(regex_replace(regex_replace(tag, "^cuda-([0-9]+)[.]([0-9]+).*", "cu$1$2"), "^rocm-([0-9]+[.][0-9]+).*", "rocm$1"), "^cpu-.*", "cpu")}"
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

# A target with a matrix is also a group of its name: this is the group `all`. Null arguments and labels are omitted.
target "all" {
  matrix = {
    variant = LEONARDO_VARIANTS
  }
  inherits = ["_common"]
  name     = target_name(variant)
  tags     = ["${LEONARDO_IMAGE}:${tag(variant)}"]
  args = {
    IMAGE_BASE   = locked(base(variant))
    RUST_IMAGE   = locked("rust:1.95-slim-bookworm")
    ACCELERATOR  = variant.family
    ROCM_VERSION = variant.family == "rocm" ? variant.version : null
    ROCM_FLAVOUR = variant.family == "rocm" ? variant.flavour : null
  }
  labels = {
    "org.opencontainers.image.base.name"   = lookup(LEONARDO_BASE_DIGESTS, base(variant), "") != "" ? base(variant) : null
    "org.opencontainers.image.base.digest" = lookup(LEONARDO_BASE_DIGESTS, base(variant), "") != "" ? lookup(LEONARDO_BASE_DIGESTS, base(variant), "") : null
  }
}

# All extended images. Their base is built in the same call, and once: "target:" names the result of another target.
target "extended" {
  matrix = {
    image = LEONARDO_EXTENDED
  }
  inherits   = ["_common"]
  name       = "${image.name}-${image.target}"
  context    = "images/${image.name}"
  dockerfile = "Dockerfile"
  contexts   = merge(image.sources, { base = "target:${image.target}" })
  args       = { TORCH_INDEX = image.torch ? torch_index(image.tag) : null }
  tags       = ["${regex_replace(LEONARDO_IMAGE, "[^/]+$", image.name)}:${image.tag}"]
  labels = {
    "org.opencontainers.image.title"       = image.title
    "org.opencontainers.image.description" = "${image.title} on the Leonardo base image"
    "org.opencontainers.image.base.name"   = "${LEONARDO_IMAGE}:${image.tag}"
  }
}

group "jupyter" {
  targets = extended_targets("jupyter")
}

group "comfyui" {
  targets = extended_targets("comfyui")
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

# One of each kind, to try a change: the newest version of each accelerator, which is the last of its rows.
group "newest" {
  targets = concat(targets_of("cpu"), [
    for variant in LEONARDO_VARIANTS : target_name(variant) if contains([
      "cuda-${LEONARDO_CUDA_ROWS[length(LEONARDO_CUDA_ROWS) - 1].version}-${LEONARDO_CUDA_ROWS[length(LEONARDO_CUDA_ROWS) - 1].release}",
      "rocm-${LEONARDO_ROCM_ROWS[length(LEONARDO_ROCM_ROWS) - 1].version}-${LEONARDO_ROCM_ROWS[length(LEONARDO_ROCM_ROWS) - 1].release}",
    ], "${variant.family}-${variant.version}-${variant.release}")
  ])
}

# To publish what programs run on, or what they are compiled on.
group "runtime" {
  targets = flavoured_targets("runtime")
}

group "devel" {
  targets = flavoured_targets("devel")
}

group "default" {
  targets = ["cpu-22_04"]
}
