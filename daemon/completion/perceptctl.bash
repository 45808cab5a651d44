# bash completion of perceptctl

_perceptctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} word command='' i
    local commands='status ask embed classify similar doctor'
    local options='-i --image -a --audio --user --system --address --json -h --help --version'
    local ask='--detail --effort --max-tokens --temperature --seed --instructions'

    # Bash splits --image=FILE into three words.
    if [[ $current == = ]]; then
        current=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    case $previous in
    -i | --image | -a | --audio)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --address | --effort | --max-tokens | --temperature | --seed | --instructions) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ " $commands " == *" $word "* ]]; then
            command=$word
            break
        fi
    done
    if [[ $current == -* ]]; then
        [[ -n $command && $command != ask ]] || options+=" $ask"
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
    elif [[ $command == classify || $command == similar ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}

complete -F _perceptctl perceptctl
