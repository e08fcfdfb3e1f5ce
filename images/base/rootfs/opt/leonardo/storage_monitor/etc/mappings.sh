# shellcheck shell=bash disable=SC2034
# Maps directories of $WORKSPACE/storage to directories of applications.
#
# storage-monitor evaluates this file with bash after each change; no restart is needed. Fill the associative array
# storage_map:
#
#   key    a directory, relative to $WORKSPACE/storage/; it need not exist yet. "." is the whole storage
#   value  one or more absolute directories, one per line; blanks around them are ignored
#
#   storage_map["models/checkpoints"]="
#       /opt/webui/models/Stable-diffusion
#       /opt/other app/models/checkpoints
#   "
#   storage_map["models/lora"]="/opt/webui/models/Lora"
#
# Every file below a key's directory gets a link of the same name in each of the directories; subdirectories are mirrored.
# If one key is inside another, both apply; if two files have the same name, the longer key wins.
#
# A directory is created if its parent exists; otherwise once its application is installed.
#
# The file can compute names ($WORKSPACE is set). It runs without other variables, standard input or rights, for 5 seconds at
# most. Output on standard error is treated as a mistake: the last valid mapping is still in use. If a command fails or the
# array is empty, no link is removed; set storage_map_empty=yes if that is intended. To see the effect of a change:
# storage-monitor plan. To see why a file is not linked: storage-monitor explain FILE.
declare -A storage_map
