# shellcheck shell=bash disable=SC2034
# Which directories of $WORKSPACE/storage lead into which directories of applications.
#
# storage-monitor evaluates this file with bash whenever it changes; nothing has to be restarted. Fill the associative array
# storage_map:
#
#   key    a directory, relative to $WORKSPACE/storage/; it need not exist yet. "." is all of the storage
#   value  one or more absolute directories, each on a line of its own; blanks around them do not count
#
#   storage_map["models/checkpoints"]="
#       /opt/webui/models/Stable-diffusion
#       /opt/other app/models/checkpoints
#   "
#   storage_map["models/lora"]="/opt/webui/models/Lora"
#
# Every file below a key's directory gets a link of its name in each of the directories, and directories in it are
# mirrored. If one key is inside another, both apply; where two files want one name, the longer key wins.
#
# A directory is made if the one that holds it exists; otherwise it waits until its application is installed.
#
# The file may compute names ($WORKSPACE is set), but has no other variables, no standard input, no rights and 5 seconds.
# What it writes to standard error is a mistake, and then the last valid mapping is still in use. After a command that fails, and
# when the array becomes empty, no link is removed; set storage_map_empty=yes if that is intended. To see what would happen:
# storage-monitor plan. Why a file is not linked: storage-monitor explain FILE.
declare -A storage_map
