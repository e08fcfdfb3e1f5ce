#!/bin/bash
# Example of PROVISIONING_SCRIPT: runs once as the system user, before ComfyUI starts. Both lists are separated by blanks.
set -eu
for address in ${COMFYUI_NODES-https://github.com/Comfy-Org/ComfyUI-Manager}; do
    node=/opt/ComfyUI/custom_nodes/$(basename "$address" .git)
    [ -d "$node" ] || git clone --depth 1 "$address" "$node"
    [ ! -f "$node/requirements.txt" ] || pip install --requirement "$node/requirements.txt"
done
# KIND=ADDRESS; the file appears in every application that storage-monitor knows.
for model in ${COMFYUI_MODELS-}; do
    directory=$WORKSPACE/storage/models/${model%%=*} file=${model##*/}
    [ -e "$directory/$file" ] || curl -fL --create-dirs -o "$directory/$file.part" "${model#*=}"
    [ -e "$directory/$file" ] || mv "$directory/$file.part" "$directory/$file"
done
