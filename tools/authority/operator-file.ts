/**
 * What an operator's commands need to reach the authority: a file that only operators can read, made
 * with the cluster. `anello up` keeps it in the data folder, a real cluster in /etc/anello.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { readJsonFile } from '../up/json-file.ts';

const SYSTEM_FILE = '/etc/anello/operator.json';
const SECRET_MODE = 0o600;

const schema = z.object({
  format: z.literal(1),
  authorities: z.array(z.string()).min(1),
  token: z.string().min(16),
  /** Certificate of the cluster's authority; absent where it is reached without TLS. */
  ca: z.string().optional(),
});

export type OperatorFile = z.infer<typeof schema>;

export interface OperatorOptions {
  readonly data?: string;
  readonly operator?: string;
}

export function operatorPath(folder: string): string {
  return path.join(folder, 'operator.json');
}

export function writeOperatorFile(file: string, content: Omit<OperatorFile, 'format'>): void {
  const text = JSON.stringify({ format: 1, ...content }, null, 2);
  writeFileSync(file, `${text}\n`, { mode: SECRET_MODE });
}

/** `--operator FILE`, else the data folder's, else the machine's. @throws OperatingError `no-operator` */
export function readOperatorFile({ data = './data', operator }: OperatorOptions): OperatorFile {
  const named = operator ?? process.env['ANELLO_OPERATOR'];
  const candidates = named === undefined ? [operatorPath(data), SYSTEM_FILE] : [named];
  const file = candidates.find((candidate) => existsSync(candidate));
  if (file === undefined) {
    const hint = 'use --data DIR of a cluster, or --operator FILE';
    throw new OperatingError('no-operator', `none of ${candidates.join(', ')} is there: ${hint}`);
  }
  const parsed = schema.safeParse(readJsonFile(file));
  if (parsed.success) return parsed.data;
  throw new OperatingError('no-operator', `${file} is not an operator's file`);
}

/** The token as it stands in a file of its own. */
export function readToken(file: string): string {
  return readFileSync(file, 'utf8').trim();
}
