# Completion of the image's tools in fish. Every tool's name is a link to this file; /usr/lib/leonardo/complete knows the words.
if not functions -q __leonardo_complete
    function __leonardo_complete
        set -l before (commandline -opc)
        set -l current (commandline -ct)
        set -l lines (/usr/lib/leonardo/complete $before "$current" 2>/dev/null)
        switch "$lines[1]"
            case :files
                __fish_complete_path "$current"
            case ':command *'
                set -l place (string replace ':command ' '' -- $lines[1])
                set -e before[1..$place]
                complete -C (string join ' ' -- (string escape -- $before) "$current")
            case '*'
                string join \n -- $lines
        end
    end
    for name in @NAMES@
        complete -c $name -f -a '(__leonardo_complete)'
    end
end
