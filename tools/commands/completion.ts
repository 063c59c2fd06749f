/** `anello completion`: what a shell completes, made from the verbs themselves. */
import type { Command } from 'commander';
import { OperatingError } from '#base/errors.ts';
import { bashScript, completionTree, zshScript } from '../completion.ts';

export function register(program: Command): void {
  program
    .command('completion')
    .description('a script for the shell: completes verbs and options')
    .argument('<shell>', 'bash or zsh')
    .option('--json', 'the verbs and options themselves')
    .addHelpText(
      'after',
      `
Examples:
  anello completion bash > /etc/bash_completion.d/anello
  source <(anello completion bash)
  anello completion zsh > ~/.zfunc/_anello`,
    )
    .action(print);
}

async function print(shell: string, { json }: { readonly json?: boolean }): Promise<void> {
  // Here, as it would load itself.
  const { programOf } = await import('../program.ts');
  const tree = completionTree(await programOf());
  const scripts: Readonly<Record<string, (known: typeof tree) => string>> = {
    bash: bashScript,
    zsh: zshScript,
  };
  const script = scripts[shell];
  if (script === undefined) throw new OperatingError('wrong-use', `${shell}: bash or zsh`);
  if (json) console.log(JSON.stringify(tree, null, 2));
  else process.stdout.write(script(tree));
}
