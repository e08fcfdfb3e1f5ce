# A monitor as people write it: link what is there, then whatever inotifywait tells. Arguments: storage, targets…
storage=$1
shift
link() {
    for target in "$@"; do
        [ -e "$target/${file##*/}" ] || ln -s "$file" "$target/"
    done
}
for file in "$storage"/*; do link "$@"; done
echo ready
[ -n "${ONCE:-}" ] && exit
inotifywait --monitor --quiet --event create --event moved_to --format '%w%f' "$storage" |
    while IFS= read -r file; do link "$@"; done
