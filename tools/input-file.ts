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
