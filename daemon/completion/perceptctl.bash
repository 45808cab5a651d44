# bash completion of perceptctl

_perceptctl() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} word command='' i
    local commands='status ask embed classify similar index watch search purge doctor'
    local options='-i --image -a --audio --user --system --address --json -h --help --version'
    local ask='--detail --effort --max-tokens --temperature --seed --instructions --model --think'
    local search='--collection --limit --open --prompt' purge='--uid --state'

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
    --state)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return
        ;;
    --address | --effort | --max-tokens | --temperature | --seed | --instructions | --model) return ;;
    --collection | --limit | --uid) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ " $commands " == *" $word "* ]]; then
            command=$word
            break
        fi
    done
    if [[ $current == -* ]]; then
        case $command in
        '') options+=" $ask $search $purge" ;;
        ask) options+=" $ask" ;;
        index | watch) options+=' --collection' ;;
        search) options+=" $search" ;;
        purge) options+=" $purge" ;;
        esac
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
    elif [[ $command == classify || $command == similar ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    elif [[ $command == index || $command == watch ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
    fi
}

complete -F _perceptctl perceptctl
