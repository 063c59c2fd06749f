/** Examples in the help of a verb: each verb shows those lines that call it, a verb of verbs all of them. */
import type { Command } from 'commander';

/** Lines that can be copied as they stand: what is said about them stands behind a `#`. */
export function addExamples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('afterAll', ({ command: shown }) => {
    const own = lines.filter((line) => calls(line, wordsOf(shown)));
    if (own.length === 0) return '';
    const title = own.length === 1 ? 'Example:' : 'Examples:';
    return ['', title, ...own.map((line) => `  ${line}`)].join('\n');
  });
}

/** Such as `anello ring plan`. */
function wordsOf(command: Command): string {
  const above = command.parent === null ? '' : `${wordsOf(command.parent)} `;
  return above + command.name();
}

function calls(line: string, words: string): boolean {
  return `${line} `.includes(`${words} `);
}
