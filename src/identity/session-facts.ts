/**
 * What a token may say of its session beyond user, scope and roles: groups that a mapping rule gave, the
 * role of a project that was taken on, a policy that narrows it. Carried by the token itself, under its
 * signature, so that nothing has to be looked up or cleaned away.
 *
 *   raw DEFLATE of msgpack { v: 1, groups?: [16 bytes...], role?: [id, session name], policy?: text }
 *
 * Opened only when the signature matched, and never to more than MAX_OPENED_BYTES.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { pack, unpack } from '#base/codec.ts';
import { OperatingError } from '#base/errors.ts';
import { idSchema } from './id.ts';

export interface SessionFacts {
  /** Ids of groups besides those that the user is a member of. */
  readonly groups?: readonly string[];
  /** Its policies count instead of the user's. */
  readonly role?: { readonly id: string; readonly session: string };
  /** A policy document: the session may what this allows, too, and nothing else. */
  readonly policy?: string;
}

export const MAX_SESSION_POLICY_CHARACTERS = 2048;
/** With the other fields, base64url and a signature it stays below MAX_TOKEN_LENGTH. */
export const MAX_PACKED_BYTES = 2600;
const MAX_OPENED_BYTES = 16_384;
const VERSION = 1;
const MAX_GROUPS = 64;

const schema = z.strictObject({
  v: z.literal(VERSION),
  groups: z.array(idSchema).max(MAX_GROUPS).optional(),
  role: z.tuple([idSchema, z.string().max(64)]).optional(),
  policy: z.string().max(MAX_SESSION_POLICY_CHARACTERS).optional(),
});

/** Undefined: there is nothing to say. @throws OperatingError `packed-policy-too-large` */
export function packSession({ groups, role, policy }: SessionFacts): Buffer | undefined {
  const some = (groups?.length ?? 0) > 0 || role !== undefined || policy !== undefined;
  if (!some) return undefined;
  const fields = {
    v: VERSION,
    ...(groups?.length && { groups: groups.slice(0, MAX_GROUPS) }),
    ...(role && { role: [role.id, role.session] }),
    ...(policy !== undefined && { policy }),
  };
  const packed = deflateRawSync(pack(fields));
  if (packed.length <= MAX_PACKED_BYTES) return packed;
  const percent = Math.ceil((100 * packed.length) / MAX_PACKED_BYTES);
  throw new OperatingError(
    'packed-policy-too-large',
    `Packed size of session policy consumes ${percent}% of allotted space, please use smaller policy.`,
  );
}

/** Undefined: not ours, or of a newer version: such a token must not count. */
export function openSession(packed: Uint8Array): SessionFacts | undefined {
  try {
    const opened = inflateRawSync(packed, { maxOutputLength: MAX_OPENED_BYTES });
    const parsed = schema.safeParse(unpack(opened));
    if (!parsed.success) return undefined;
    const { groups, role, policy } = parsed.data;
    return {
      ...(groups && { groups }),
      ...(role && { role: { id: role[0], session: role[1] } }),
      ...(policy !== undefined && { policy }),
    };
  } catch {
    return undefined; // Damaged bytes are no session, as the caller is told.
  }
}

/** Only S3 keeps to policies: elsewhere such a session would be wider than it was made. */
export function isForS3Only({ role, policy }: SessionFacts): boolean {
  return role !== undefined || policy !== undefined;
}
