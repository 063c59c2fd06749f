/**
 * The record of an upload under way, and of one that is (being) completed: bodies of small objects
 * (names.ts says where), JSON with a version, so that a person with a disk in hand can read them.
 *
 *   u/  {"anello-upload": 1, "key": "...", "startedMicros": N, "contentType": "...", "user": {...},
 *        "system": {...}, "groups": {...}, "algorithm": "crc64nvme", "checksumType": "FULL_OBJECT",
 *        "initiator": "..."}
 *       version 2 adds "encryption": how the parts are encrypted; an upload without it is written as version 1
 *   c/  {"anello-completion": 1, "key": "...", "etag": "...", "size": N, "checksums": {...}}
 *
 * The store keeps every object's checksum; what is read here is checked like any object.
 */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { ObjectReader } from '../contract.ts';

const VERSION = 1;
/** A process that does not know of encryption must not store parts of such an upload. */
const ENCRYPTED_VERSION = 2;
const texts = z.record(z.string(), z.string());

const bytes = z.codec(z.base64(), z.instanceof(Buffer), {
  decode: (text) => Buffer.from(text, 'base64'),
  encode: (value) => value.toString('base64'),
});

const encryptionSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('store') }),
  z.object({ kind: z.literal('named'), name: z.string(), bucketKey: z.boolean() }),
  z.object({ kind: z.literal('customer'), salt: bytes, verifier: bytes }),
]);

const uploadSchema = z.object({
  'anello-upload': z.union([z.literal(VERSION), z.literal(ENCRYPTED_VERSION)]),
  key: z.string(),
  startedMicros: z.number(),
  contentType: z.string(),
  user: texts,
  system: texts,
  groups: z.record(z.string(), texts),
  /** Of the parts and of the whole. */
  algorithm: z.string(),
  checksumType: z.enum(['FULL_OBJECT', 'COMPOSITE']),
  /** The client named the algorithm: answers show it. */
  asked: z.boolean(),
  initiator: z.string(),
  encryption: encryptionSchema.optional(),
});

const completionSchema = z.object({
  'anello-completion': z.literal(VERSION),
  key: z.string(),
  /** Of the request that completed it: the same one again gets the same answer. */
  etag: z.string(),
  size: z.number(),
  checksums: texts,
});

export type UploadRecord = Omit<z.infer<typeof uploadSchema>, 'anello-upload'>;
export type CompletionRecord = Omit<z.infer<typeof completionSchema>, 'anello-completion'>;

export function encodeUpload(record: UploadRecord): Buffer {
  const version = record.encryption === undefined ? VERSION : ENCRYPTED_VERSION;
  const fields = uploadSchema.encode({ 'anello-upload': version, ...record });
  return Buffer.from(JSON.stringify(fields));
}

/** @throws OperatingError `malformed`, `newer-format` */
export function decodeUpload(bytes: Uint8Array): UploadRecord {
  return parse(bytes, 'anello-upload', uploadSchema, ENCRYPTED_VERSION);
}

export function encodeCompletion(record: CompletionRecord): Buffer {
  return Buffer.from(JSON.stringify({ 'anello-completion': VERSION, ...record }));
}

/** @throws OperatingError `malformed`, `newer-format` */
export function decodeCompletion(bytes: Uint8Array): CompletionRecord {
  return parse(bytes, 'anello-completion', completionSchema, VERSION);
}

/** The bytes of a record. */
export async function wholeOf(reader: ObjectReader): Promise<Buffer> {
  if (reader.inline !== undefined) return reader.inline;
  const chunks: Buffer[] = [];
  for await (const chunk of reader.read(0, reader.length)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function parse<Value>(
  bytes: Uint8Array,
  name: string,
  schema: z.ZodType<Value>,
  newest: number,
): Value {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new OperatingError('malformed', `${name} is not JSON`, {}, { cause });
  }
  const version = (value as Record<string, unknown> | null)?.[name];
  if (typeof version === 'number' && version > newest) {
    throw new OperatingError('newer-format', `${name} of a newer version`, { version });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new OperatingError('malformed', `damaged ${name}`);
}
