/** What every verb has in common: --json, help with an example, completion. */
import { execFileSync } from 'node:child_process';
import type { Command } from 'commander';
import { beforeAll, describe, expect, it } from 'vitest';
import { bashScript, completionTree, zshScript } from './completion.ts';
import { programOf } from './program.ts';
import { problemsOf } from './testing/command-line.ts';

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

/** Its examples; a line that ends in a backslash goes on. */
function examplesOf(command: Command): string[] {
  const [, examples = ''] = helpOf(command).split(/^Examples?:/m);
  const lines = examples.replaceAll('\\\n', ' ').split('\n');
  return lines.map((line) => line.trim()).filter((line) => line !== '');
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

  it('describes itself, its arguments and options, with an example of its own', () => {
    for (const [words, command] of verbs()) {
      expect(command.description(), words).not.toBe('');
      for (const { long, description } of command.options)
        expect(description, `${words} ${long}`).not.toBe('');
    }
    const without = verbs().filter(
      ([words, command]) => !examplesOf(command).some((line) => line.includes(`anello ${words}`)),
    );
    expect(without.map(([words]) => words)).toEqual([]);
  });

  it('has examples that can be copied: of verbs and options that there are, and nothing besides', () => {
    const lines = new Set(verbs().flatMap(([, command]) => examplesOf(command)));
    expect(lines.size).toBeGreaterThan(verbs().length);
    expect([...lines].flatMap((line) => problemsOf(program, line))).toEqual([]);
    for (const wrong of [
      'ring plam',
      'ring',
      'ring plan --drian x',
      'trace',
      'status   what it is',
    ])
      expect(problemsOf(program, `sleep 1 && anello ${wrong}`), wrong).toHaveLength(1);
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
