# fish completion of perceptd

complete -c perceptd -f
complete -c perceptd -l bus -x -a 'session system' -d 'The bus to serve'
complete -c perceptd -l config -r -F -d 'The configuration'
complete -c perceptd -l model -r -F -d 'The model to use'
complete -c perceptd -l media-helper -r -F -d 'The program that decodes media'
complete -c perceptd -l help -d 'Print a summary'
complete -c perceptd -l version -d 'Print the version'
