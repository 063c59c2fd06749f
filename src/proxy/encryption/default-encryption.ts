/**
 * What a container asks for where a write says nothing: the header `s3-encryption`, JSON, as
 * PutBucketEncryption sets it (no API shows it as it is). It counts for every API that writes there.
 *
 *   {"algorithm": "AES256"}   {"algorithm": "aws:kms", "keyName": "...", "bucketKey": true}
 */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { ContainerInfo } from '../contract.ts';
import type { WantedEncryption } from './encryption.ts';

export const ENCRYPTION_HEADER = 's3-encryption';

const schema = z.object({
  algorithm: z.enum(['AES256', 'aws:kms']),
  keyName: z.string().optional(),
  bucketKey: z.boolean().optional(),
});

export type EncryptionRule = z.infer<typeof schema>;

/** @throws OperatingError `malformed`: what can't be read must not let plain bytes through */
export function encryptionRule({
  headers,
}: Pick<ContainerInfo, 'headers'>): EncryptionRule | undefined {
  const text = headers[ENCRYPTION_HEADER];
  if (text === undefined || text === '') return undefined;
  const parsed = schema.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  throw new OperatingError('malformed', "damaged setting of a container's encryption");
}

export function defaultEncryption(
  container: Pick<ContainerInfo, 'headers'>,
): WantedEncryption | undefined {
  const rule = encryptionRule(container);
  if (rule === undefined) return undefined;
  if (rule.algorithm === 'AES256') return { kind: 'store' };
  return { kind: 'named', name: rule.keyName ?? '', bucketKey: rule.bucketKey === true };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // refused by the schema
  }
}
