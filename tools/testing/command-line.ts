/** Command lines of guides and examples, held against the program: tests of what is written about it. */
import type { Command } from 'commander';

/** What is wrong with the calls of `anello` in a line of a shell; what else stands there is no matter. */
export function problemsOf(program: Command, line: string): string[] {
  const code = line.replace(/(^|\s)#.*$/, '').replaceAll(/\$\([^)]*\)/g, 'VALUE');
  const parts = code.replaceAll(/<\(|\)/g, ' ').split(/&&|[;|]| > /);
  return parts.flatMap((part) => {
    const call = /^\s*(?:source\s+|\w+=\S+\s+)*anello\s+(.*)$/.exec(part)?.[1];
    return call === undefined ? [] : problemsOfCall(program, call.trim());
  });
}

function problemsOfCall(program: Command, call: string): string[] {
  const words = call.split(/\s+/);
  let verb = program;
  for (let next = child(verb, words[0]); next !== undefined; next = child(verb, words[0])) {
    verb = next;
    words.shift();
  }
  if (verb === program) return [`${call}: no such verb`];
  if (verb.commands.length > 0) return [`${call}: incomplete`];
  const { given, operands } = sorted(verb, words);
  const known = verb.options.map(({ long }) => long);
  const wanted = verb.registeredArguments;
  const most = wanted.at(-1)?.variadic ? Number.POSITIVE_INFINITY : wanted.length;
  return [
    ...given.filter((option) => !known.includes(option)).map((option) => `${call}: ${option}`),
    ...verb.options
      .filter(({ mandatory, long }) => mandatory && !given.includes(long!))
      .map(({ long }) => `${call}: needs ${long}`),
    ...(operands.length < wanted.filter(({ required }) => required).length
      ? [`${call}: too little`]
      : []),
    ...(operands.length > most ? [`${call}: too much`] : []),
  ];
}

function child(verb: Command, name: string | undefined): Command | undefined {
  return verb.commands.find((command) => command.name() === name);
}

/** Options, and what stands beside them; an option's own value is neither. */
function sorted(verb: Command, words: readonly string[]): { given: string[]; operands: string[] } {
  const given: string[] = [];
  const operands: string[] = [];
  for (let n = 0; n < words.length; n += 1) {
    const word = words[n]!;
    if (!word.startsWith('--')) {
      operands.push(word);
      continue;
    }
    given.push(word);
    const option = verb.options.find(({ long }) => long === word);
    if (option !== undefined && (option.required || option.optional)) n += 1;
  }
  return { given, operands };
}
