/** What every verb has in common: --json, help with an example, completion. */
import { execFileSync } from 'node:child_process';
import type { Command } from 'commander';
import { beforeAll, describe, expect, it } from 'vitest';
import { bashScript, completionTree, zshScript } from './completion.ts';
import { programOf } from './program.ts';

let program: Command;

beforeAll(async () => {
  program = await programOf();
});

/** Commands that do something: those without others below them, and defaults. */
function verbs(command: Command = program, words: readonly string[] = []): [string, Command][] {
  const below = command.commands.flatMap((child) => verbs(child, [...words, child.name()]));
  return command.commands.length === 0 ? [[words.join(' '), command]] : below;
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (piece) => (text += piece) });
  command.outputHelp();
  return text;
}

/** All that this command's help says, and that of those above it. */
function helpUpwards(command: Command): string {
  const above = command.parent;
  return helpOf(command) + (above === null || above === program ? '' : helpUpwards(above));
}

/** What bash offers after these words. */
function completed(script: string, line: string): string[] {
  const words = line.split(' ');
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const ask = `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _anello; echo "\${COMPREPLY[*]}"`;
  const out = execFileSync('bash', ['-c', `${script}\n${ask}`], { encoding: 'utf8' });
  return out.trim().split(' ');
}

describe('every verb', () => {
  it('takes --json', () => {
    const without = verbs().filter(([, { options }]) => !options.some((o) => o.long === '--json'));
    expect(without.map(([words]) => words)).toEqual([]);
  });

  it('describes itself, its arguments and options, with an example', () => {
    for (const [words, command] of verbs()) {
      expect(command.description(), words).not.toBe('');
      for (const { long, description } of command.options)
        expect(description, `${words} ${long}`).not.toBe('');
    }
    const without = verbs().filter(([words, command]) => {
      const [, examples = ''] = helpUpwards(command).split(/Examples?:/);
      return !examples.includes(`anello ${words.split(' ')[0]}`);
    });
    expect(without.map(([words]) => words)).toEqual([]);
  });
});

describe('completion', () => {
  it('offers verbs, verbs of verbs, options, and files at last', () => {
    const script = bashScript(completionTree(program));
    expect(completed(script, 'anello ri')).toEqual(['ring']);
    expect(completed(script, 'anello ring pl')).toEqual(['plan']);
    expect(completed(script, 'anello ring plan --dr')).toEqual(['--drain']);
    expect(completed(script, 'anello ring plan --drain x --fo')).toEqual(['--force']);
    expect(completed(script, 'anello device check --j')).toEqual(['--json']);
    expect(completed(script, 'anello config diff /etc/host')).toContain('/etc/hostname');
  });

  it('has a verb of every kind in the script for zsh', () => {
    const script = zshScript(completionTree(program));
    for (const [words] of verbs()) expect(script).toContain(`'${words}')`);
  });
});
