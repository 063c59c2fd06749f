/** The operator's guide, as a test that follows it sees it: which commands are in it. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

const GUIDE = path.resolve(import.meta.dirname, '../../deploy/README.md');
const lines = [...readFileSync(GUIDE, 'utf8').matchAll(/^```.*\n([\s\S]*?)^```$/gm)].flatMap(
  ([, text]) => text!.replaceAll('\\\n', ' ').split('\n'),
);

/**
 * The same program and verbs with at least these options stand in one line of the guide; what they are
 * given there are examples. @throws when an operator who has only the guide would not know this command
 */
export function mustBeInGuide(command: string): string {
  const wanted = partsOf(command);
  const found = lines.map(partsOf).some(({ verb, options }) => {
    return verb === wanted.verb && wanted.options.every((option) => options.includes(option));
  });
  if (!found) throw new Error(`the guide has no such command: ${command}`);
  return command;
}

function partsOf(line: string): { verb: string; options: string[] } {
  const [command] = line.split(/[>|;]/);
  const words = command!.trim().split(/\s+/);
  const verbs = words
    .slice(1, words[0] === 'anello' ? 3 : 2)
    .filter((word) => /^[a-z]+$/.test(word));
  return {
    verb: [words[0], ...verbs].join(' '),
    // What a person reads, a test parses.
    options: words.filter((word) => word.startsWith('--') && word !== '--json'),
  };
}
