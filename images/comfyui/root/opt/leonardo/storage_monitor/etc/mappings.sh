# $WORKSPACE/storage/models/checkpoints/x appears as /opt/ComfyUI/models/checkpoints/x, and so on for loras, vae, controlnet and
# every other kind of model. Format: docs/storage.md.
declare -A storage_map
storage_map[models]=/opt/ComfyUI/models
