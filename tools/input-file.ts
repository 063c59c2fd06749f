/** Files that a command line names: whatever is wrong with them is told in one line, with their name. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';

/** @throws OperatingError `wrong-use` */
export function readInput(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new OperatingError('wrong-use', `cannot read ${file} (${codeOf(error)})`);
  }
}

/** @throws OperatingError `wrong-use` */
export function readInputText(file: string): string {
  return readInput(file).toString('utf8');
}

/** @throws OperatingError `wrong-use` */
export function readInputYaml(file: string): unknown {
  const text = readInputText(file);
  try {
    return parse(text, { prettyErrors: false });
  } catch (error) {
    const [first] = messageOf(error).split('\n');
    throw new OperatingError('wrong-use', `${file} is no YAML: ${first}`);
  }
}

const STANDARD_INPUT = 0;

/**
 * A secret of the command line, where everybody on the machine sees it (`ps`, histories); of "-", the first
 * line of standard input, where nobody does. @throws OperatingError `wrong-use`
 */
export function readSecret(given: string, source: number | string = STANDARD_INPUT): string {
  if (given !== '-') return given;
  let text: string;
  try {
    text = readFileSync(source, 'utf8');
  } catch (error) {
    throw new OperatingError('wrong-use', `cannot read standard input (${codeOf(error)})`);
  }
  const line = text.split(/\r?\n/, 1)[0] ?? '';
  if (line !== '') return line;
  throw new OperatingError('wrong-use', '"-": there is nothing on standard input');
}

/** What the help of such an option says besides. */
export const SECRET_HINT = '"-": the first line of standard input';
