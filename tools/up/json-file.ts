/** Reading the JSON files that `anello up` wrote: what is wrong with one is told with its name. */
import { readFileSync } from 'node:fs';
import { OperatingError } from '#base/errors.ts';

/** @throws OperatingError `bad-file` */
export function readJsonFile(file: string): unknown {
  const text = readFileSync(file, 'utf8');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new OperatingError('bad-file', `${file} is damaged: it is no JSON`, { file }, { cause });
  }
}
