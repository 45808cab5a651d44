# fish completion of perceptctl

set -l commands status ask embed classify similar index watch search purge doctor
set -l none "not __fish_seen_subcommand_from $commands"

complete -c perceptctl -f
complete -c perceptctl -n $none -a status -d 'How the service is'
complete -c perceptctl -n $none -a ask -d 'Ask about pictures and recordings'
complete -c perceptctl -n $none -a embed -d 'Print vectors'
complete -c perceptctl -n $none -a classify -d 'Which label fits best'
complete -c perceptctl -n $none -a similar -d 'Compare files and texts'
complete -c perceptctl -n $none -a index -d 'Make files findable'
complete -c perceptctl -n $none -a watch -d 'Index whenever a file changes'
complete -c perceptctl -n $none -a search -d 'Find files by what is in them'
complete -c perceptctl -n $none -a purge -d 'Remove what was indexed for a user'
complete -c perceptctl -n $none -a doctor -d 'Try everything once'
complete -c perceptctl -n '__fish_seen_subcommand_from classify similar' -F
complete -c perceptctl -n '__fish_seen_subcommand_from index watch' -a '(__fish_complete_directories)'
complete -c perceptctl -s i -l image -r -F -d 'A picture'
complete -c perceptctl -s a -l audio -r -F -d 'A recording'
complete -c perceptctl -l user -d 'Use the session bus'
complete -c perceptctl -l system -d 'Use the system bus'
complete -c perceptctl -l address -x -d 'Use the bus at this address'
complete -c perceptctl -l json -d 'For programs'
complete -c perceptctl -s h -l help -d 'Print a summary'
complete -c perceptctl -l version -d 'Print the version'

set -l ask '__fish_seen_subcommand_from ask'
complete -c perceptctl -n $ask -l detail -d 'Look more closely at pictures'
complete -c perceptctl -n $ask -l effort -x -d '-1 to 1: computing for each word'
complete -c perceptctl -n $ask -l max-tokens -x -d 'Longest answer'
complete -c perceptctl -n $ask -l temperature -x -d '0 takes the likeliest word'
complete -c perceptctl -n $ask -l seed -x -d 'Of the draw'
complete -c perceptctl -n $ask -l instructions -x -d 'What the model is told first'
complete -c perceptctl -n $ask -l model -x -d 'Another installed model'
complete -c perceptctl -n $ask -l think -d 'Before the answer'

set -l collection '__fish_seen_subcommand_from index watch search'
set -l search '__fish_seen_subcommand_from search'
set -l purge '__fish_seen_subcommand_from purge'
complete -c perceptctl -n $collection -l collection -x -d 'Which collection'
complete -c perceptctl -n $search -l limit -x -d 'At most so many files'
complete -c perceptctl -n $search -l open -d 'Open the best one'
complete -c perceptctl -n $search -l prompt -d 'Ask for the next words'
complete -c perceptctl -n $purge -l uid -x -d 'Number of the user'
complete -c perceptctl -n $purge -l state -x -a '(__fish_complete_directories)' -d 'State of the service'
