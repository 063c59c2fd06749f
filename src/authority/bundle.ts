/**
 * The bundle: everything that all processes of a cluster must agree on, in one signed, numbered piece.
 *
 *   offset  size  field
 *   0       4     magic "ANLB"
 *   4       2     format version (1), big-endian
 *   6       2     reserved, 0
 *   8       4     length of the payload, n
 *   12      4     CRC-32 of the payload
 *   16      n     payload: msgpack {clusterId, version, document, rings: [ring file, ...]}
 *   16+n    64    Ed25519 signature over bytes 0 .. 16+n
 *
 * A bundle is never rewritten: a change is a new version. Ring files inside keep their own format.
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { pack, unpack } from '#base/codec.ts';
import { OperatingError } from '#base/errors.ts';
import type { ClusterSettings, ClusterView, NodeInfo, StoragePolicy } from '#ring/cluster.ts';
import { CONSISTENCY_MODES } from '#ring/cluster.ts';
import type { Ring } from '#ring/ring.ts';
import { decodeRingFile, encodeRingFile } from '#ring/ring-file.ts';

const MAGIC = Buffer.from('ANLB');
const BUNDLE_FORMAT = 1;
const HEADER_BYTES = 16;
const SIGNATURE_BYTES = 64;
export const MAX_BUNDLE_BYTES = 256 * 1024 * 1024;

export type Sign = (bytes: Uint8Array) => Buffer;
export type Verify = (bytes: Uint8Array, signature: Uint8Array) => boolean;

/** The cluster document: what is not a ring. */
export interface ClusterDocument {
  readonly hashPrefix: string;
  readonly hashSuffix: string;
  readonly policies: readonly StoragePolicy[];
  readonly nodes: readonly NodeInfo[];
  readonly settings?: ClusterSettings | undefined;
}

const settingsSchema = z.object({
  name: z.string(),
  sites: z.array(z.object({ name: z.string(), publicUrl: z.string().optional() })).default([]),
  links: z.array(
    z.object({
      between: z.tuple([z.string(), z.string()]),
      rttMs: z.number(),
      bandwidth: z.number().optional(),
      hours: z.string().optional(),
    }),
  ),
  limits: z.record(z.string(), z.number()),
  features: z.record(z.string(), z.boolean()),
  webhooks: z.array(z.string()).optional(),
  s3Domains: z.array(z.string()).optional(),
  s3WebsiteDomains: z.array(z.string()).optional(),
  authorities: z.array(z.string()),
  revoked: z.object({ nodes: z.array(z.string()), serials: z.array(z.string()) }),
});

const payloadSchema = z.object({
  clusterId: z.string().regex(/^[0-9a-f]{32}$/),
  version: z.number().int().min(1),
  document: z.object({
    hashPrefix: z.string(),
    hashSuffix: z.string(),
    policies: z.array(
      z.object({
        index: z.number().int().min(0),
        name: z.string(),
        copies: z.number().int().min(1),
        states: z.number().int().min(1),
        mode: z.enum(CONSISTENCY_MODES),
        isDefault: z.boolean(),
      }),
    ),
    nodes: z.array(
      z.object({
        name: z.string(),
        site: z.string(),
        zone: z.string(),
        wire: z.object({ host: z.string(), port: z.number().int() }),
        roles: z.array(z.string()).optional(),
      }),
    ),
    settings: settingsSchema.optional(),
  }),
  rings: z.array(z.instanceof(Uint8Array)),
});

export function encodeBundle(
  bundle: { clusterId: string; version: number; document: ClusterDocument; rings: readonly Ring[] },
  sign: Sign,
): Buffer {
  const payload = pack({
    clusterId: bundle.clusterId,
    version: bundle.version,
    document: bundle.document,
    rings: bundle.rings.map((ring) => encodeRingFile(ring)),
  });
  const signed = Buffer.concat([header(payload), payload]);
  return Buffer.concat([signed, sign(signed)]);
}

function header(payload: Buffer): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(bytes);
  bytes.writeUInt16BE(BUNDLE_FORMAT, 4);
  bytes.writeUInt32BE(payload.length, 8);
  bytes.writeUInt32BE(crc32(payload), 12);
  return bytes;
}

/**
 * Checks everything, then gives the view that a process works with.
 * @throws OperatingError `malformed`, `newer-format`, `checksum`, `bad-signature`
 */
export function decodeBundle(bytes: Buffer, verify: Verify): ClusterView {
  const payload = checkedPayload(bytes, verify);
  const result = payloadSchema.safeParse(unpack(payload));
  if (!result.success) throw new OperatingError('malformed', 'the bundle has wrong fields');
  const { clusterId, version, document } = result.data;
  const rings = result.data.rings.map((file) => decodeRingFile(Buffer.from(file)));
  return Object.freeze({
    clusterId,
    version,
    hashPrefix: document.hashPrefix,
    hashSuffix: document.hashSuffix,
    policies: document.policies,
    nodes: new Map(document.nodes.map((node) => [node.name, node])),
    rings: new Map(rings.map((ring) => [ring.policy, ring])),
    settings: document.settings,
  });
}

function checkedPayload(bytes: Buffer, verify: Verify): Buffer {
  if (bytes.length < HEADER_BYTES + SIGNATURE_BYTES || !bytes.subarray(0, 4).equals(MAGIC)) {
    throw new OperatingError('malformed', 'not a bundle');
  }
  const format = bytes.readUInt16BE(4);
  if (format > BUNDLE_FORMAT) {
    throw new OperatingError('newer-format', 'the bundle was made by a newer version', { format });
  }
  const end = HEADER_BYTES + bytes.readUInt32BE(8);
  if (bytes.length !== end + SIGNATURE_BYTES)
    throw new OperatingError('malformed', 'bundle length');
  const payload = bytes.subarray(HEADER_BYTES, end);
  if (crc32(payload) !== bytes.readUInt32BE(12)) {
    throw new OperatingError('checksum', 'the bundle is damaged');
  }
  if (!verify(bytes.subarray(0, end), bytes.subarray(end))) {
    throw new OperatingError(
      'bad-signature',
      "the bundle is not signed by this cluster's authority",
    );
  }
  return payload;
}
