# Digests of the base images, for `cargo xtask bake --locked` and releases. Written by `cargo xtask images update`, which asks the
# registry; no digest is entered by hand. Empty: not run yet where a registry answers.
variable "LEONARDO_BASE_DIGESTS" {
  default = {
  }
}
