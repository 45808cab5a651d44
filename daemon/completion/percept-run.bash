# bash completion of percept-run

_percept_run() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} word i
    local commands='generate logits embed bench info density batch' words=0 command=''
    local options='-i --image -a --audio --effort --detail -p --prompt --system --raw --think
        --max-tokens --temperature --top-p --seed --precision --route --context --cache
        -t --threads --isa --memory --tokens --prefill -n --decode --depth --sessions -r --repeat
        -o --output --json -h --help'

    if [[ $current == = ]]; then
        current=''
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    case $previous in
    -i | --image | -a | --audio | -o | --output)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --detail) mapfile -t COMPREPLY < <(compgen -W 'low high' -- "$current"); return ;;
    --precision) mapfile -t COMPREPLY < <(compgen -W 'int8 f32' -- "$current"); return ;;
    --think) mapfile -t COMPREPLY < <(compgen -W 'on off' -- "$current"); return ;;
    --cache) mapfile -t COMPREPLY < <(compgen -W 'auto f32 f16 q8' -- "$current"); return ;;
    --route) mapfile -t COMPREPLY < <(compgen -W 'gates all' -- "$current"); return ;;
    --isa)
        mapfile -t COMPREPLY < <(compgen -W 'plain avx2 avx512 avx512vnni avx512bf16 native' -- "$current")
        return
        ;;
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        [[ $word == -* ]] || words=$((words + 1))
        [[ " $commands " != *" $word "* ]] || command=$word
    done
    if [[ $words -eq 1 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
    elif [[ $words -eq 0 || $command == density ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}

complete -F _percept_run percept-run
