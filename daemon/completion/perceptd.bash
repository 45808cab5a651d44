# bash completion of perceptd

_perceptd() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}

    if [[ $current == = ]]; then
        current=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    case $previous in
    --bus) mapfile -t COMPREPLY < <(compgen -W 'session system' -- "$current") ;;
    --config | --model | --media-helper)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W \
            '--bus --config --model --media-helper --help --version' -- "$current")
        ;;
    esac
}

complete -F _perceptd perceptd
