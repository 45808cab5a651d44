# fish completion of percept-run

set -l commands generate logits embed bench info density batch

complete -c percept-run -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c percept-run -s i -l image -r -F -d 'An image'
complete -c percept-run -s a -l audio -r -F -d 'A recording'
complete -c percept-run -l effort -x -d '-1 to 1: heads and experts for each token'
complete -c percept-run -l detail -x -a 'low high' -d 'Patches of an image'
complete -c percept-run -l max-tokens -x -d 'Longest answer'
complete -c percept-run -l temperature -x -d '0 takes the likeliest token'
complete -c percept-run -l top-p -x -d 'Share of the likely tokens'
complete -c percept-run -l seed -x -d 'Of the draw'
complete -c percept-run -l precision -x -a 'int8 f32' -d 'Of activations'
complete -c percept-run -l route -x -a 'gates all' -d 'Which heads and experts'
complete -c percept-run -s t -l threads -x -d 'Threads that compute'
complete -c percept-run -l isa -x -a 'plain avx2 avx512 avx512vnni native' -d 'Best kernels'
complete -c percept-run -l tokens -x -d 'Tokens with commas between'
complete -c percept-run -s p -l prefill -x -d 'Rows of the prompt'
complete -c percept-run -s n -l decode -x -d 'Tokens of the answer'
complete -c percept-run -l depth -x -d 'Context at the end of the answer'
complete -c percept-run -s r -l repeat -x -d 'Runs'
complete -c percept-run -s o -l output -r -F -d 'The picture to write'
complete -c percept-run -l json -d 'As JSON'
complete -c percept-run -s h -l help -d 'Print a summary'
