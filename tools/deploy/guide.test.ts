/** The guide's commands are ones that the program has: a verb or an option that changed breaks this, not an operator. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../..');
const guide = readFileSync(path.join(ROOT, 'deploy/README.md'), 'utf8');
const blocks = [...guide.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(([, mark, text]) => ({
  mark: mark!,
  lines: text!.trim().split('\n'),
}));

/** What `--help` says of each verb of these, asked once. */
function helpOf(words: readonly string[]): string {
  const args = ['--no-warnings', path.join(ROOT, 'tools/anello.js'), ...words, '--help'];
  return execFileSync(process.execPath, args, { encoding: 'utf8' });
}

describe('the guide', { timeout: 60_000 }, () => {
  it('marks every block', () => {
    expect(blocks.length).toBeGreaterThan(8);
    for (const { mark } of blocks) expect(['sh check', 'yaml']).toContain(mark);
  });

  it('names only commands and options that there are', () => {
    const helps = new Map<string, string>();
    const lines = blocks.filter(({ mark }) => mark === 'sh check').flatMap((block) => block.lines);
    for (const line of lines) {
      const [command] = line.split(' > ');
      const words = command!.split(' ');
      expect(['anello', 'haproxy', 'nft', 'openssl'], line).toContain(words[0]);
      if (words[0] !== 'anello') continue;
      const verbs = words.slice(1, 3).filter((word) => /^[a-z]+$/.test(word));
      const verb = verbs.join(' ');
      if (!helps.has(verb)) helps.set(verb, helpOf(verbs));
      expect(helps.get(verb), line).toContain(`Usage: anello ${verb}`);
      for (const option of words.filter((word) => word.startsWith('--')))
        expect(helps.get(verb), line).toContain(` ${option}`);
    }
  });
});
