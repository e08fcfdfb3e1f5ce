# shellcheck shell=bash disable=SC2034
# Files in $WORKSPACE/storage/models get a link in the application's folder.
declare -A storage_map
storage_map["models"]="/opt/gallery/models"
