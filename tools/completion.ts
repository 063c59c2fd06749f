/**
 * Completion scripts. They carry the whole tree: a script that asked the program would wait half a
 * second for every Tab. Files are what is left for arguments.
 */
import type { Command } from 'commander';

/** By the words of a verb, such as `ring plan`: what may follow. */
export type CompletionTree = Readonly<Record<string, readonly string[]>>;

export function completionTree(program: Command): CompletionTree {
  const tree: Record<string, readonly string[]> = {};
  const walk = (command: Command, words: readonly string[]): void => {
    const options = command.options.flatMap(({ long }) => (long == null ? [] : [long]));
    const verbs = command.commands.map((child) => child.name());
    tree[words.join(' ')] = [...verbs, ...options, '--help'];
    for (const child of command.commands) walk(child, [...words, child.name()]);
  };
  walk(program, []);
  return tree;
}

function cases(tree: CompletionTree): string {
  return Object.entries(tree)
    .map(([words, next]) => `    '${words}') next='${next.join(' ')}' ;;`)
    .join('\n');
}

export function bashScript(tree: CompletionTree): string {
  return `# bash completion of anello; made by "anello completion bash"
_anello() {
  local word=\${COMP_WORDS[COMP_CWORD]} verb='' next='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${COMP_WORDS[i]}" in -*) break ;; esac
    _anello_next "\${verb:+$verb }\${COMP_WORDS[i]}" || break
    verb="\${verb:+$verb }\${COMP_WORDS[i]}"
  done
  _anello_next "$verb"
  COMPREPLY=($(compgen -W "$next" -- "$word"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}
_anello_next() {
  case "$1" in
${cases(tree)}
    *) return 1 ;;
  esac
}
complete -o filenames -F _anello anello
`;
}

export function zshScript(tree: CompletionTree): string {
  return `#compdef anello
# zsh completion of anello; made by "anello completion zsh"
_anello_next() {
  case "$1" in
${cases(tree)}
    *) return 1 ;;
  esac
}
_anello() {
  local verb='' next='' i
  for ((i = 2; i < CURRENT; i++)); do
    [[ \${words[i]} == -* ]] && break
    _anello_next "\${verb:+$verb }\${words[i]}" || break
    verb="\${verb:+$verb }\${words[i]}"
  done
  _anello_next "$verb"
  compadd -- \${=next} || _files
}
_anello "$@"
`;
}
