/**
 * What the authority keeps in the state store, one record per thing.
 *
 *   authority/cluster            identity of the cluster, and the key that signs bundles (sealed)
 *   authority/ca                 the certificate authority (its key sealed); made when first needed
 *   authority/head               what is in force: the bundle's number, where its builders are, the change under way
 *   authority/builders/<upload>/<ring>/<n>   builder files, in pieces
 *   authority/document           the cluster document, as operators edit it
 *   authority/nodes/<name>       members, expelled ones included
 *   authority/tokens/<id>        join tokens, as hashes
 *   authority/processes/<name>   what each process has in force, as it last said
 *   authority/history/<version>  what was published when, and why
 *   cluster/bundle/...           the bundles themselves (publisher.ts)
 *
 * Whatever changes the bundle also puts `authority/head`, compared with the revision it was read at: so
 * two authorities never both publish a version.
 */
import { z } from 'zod';
import { defineRecord } from '#state/record.ts';
import { documentSchema } from './document.ts';

export const KEYS = {
  cluster: 'authority/cluster',
  ca: 'authority/ca',
  head: 'authority/head',
  document: 'authority/document',
  node: (name: string) => `authority/nodes/${name}`,
  nodes: 'authority/nodes/',
  token: (id: string) => `authority/tokens/${id}`,
  tokens: 'authority/tokens/',
  process: (name: string) => `authority/processes/${name}`,
  processes: 'authority/processes/',
  history: 'authority/history/',
  historyOf: (version: number) => `authority/history/${String(version).padStart(10, '0')}`,
  leader: 'authority/leader',
} as const;

const bytes = z.instanceof(Uint8Array<ArrayBufferLike>);

export const clusterRecord = defineRecord({
  name: 'authority cluster',
  version: 1,
  schema: z.object({
    clusterId: z.string(),
    hashPrefix: z.string(),
    hashSuffix: z.string(),
    /** Ed25519, signs bundles: SPKI PEM, and PKCS 8 PEM sealed. */
    signingKey: z.string(),
    signingSecret: bytes,
    /** SHA-256 of the operators' token. */
    operatorHash: z.string(),
  }),
});

export const caRecord = defineRecord({
  name: 'certificate authority',
  version: 1,
  schema: z.object({ certificate: z.string(), secret: bytes }),
});

const builderPlace = z.object({ upload: z.string(), pieces: z.number().int().min(1) });

export const headRecord = defineRecord({
  name: 'authority head',
  version: 1,
  schema: z.object({
    version: z.number().int().min(0),
    /** By ring name. */
    builders: z.record(z.string(), builderPlace),
    nextWorkerId: z.number().int().min(1),
    nextDeviceId: z.number().int().min(0),
    /** No settling and no automatic steps until resumed. */
    paused: z.boolean(),
    /** Weights still to be reached step by step, by device id. */
    gradual: z
      .object({
        from: z.record(z.string(), z.number()),
        target: z.record(z.string(), z.number()),
        stepPercent: z.number(),
      })
      .optional(),
  }),
});

export const documentRecord = defineRecord({
  name: 'cluster document',
  version: 1,
  schema: documentSchema,
});

export const nodeRecord = defineRecord({
  name: 'cluster node',
  version: 1,
  schema: z.object({
    name: z.string(),
    site: z.string(),
    zone: z.string(),
    roles: z.array(z.string()),
    wire: z.object({ host: z.string(), port: z.number().int() }),
    /** Where it serves other things, by role: `proxy`, `identity`, `authority`, `admin`. */
    ports: z.record(z.string(), z.number().int()),
    workerIds: z.array(z.number().int()),
    devices: z.array(z.object({ id: z.number().int(), name: z.string(), bytes: z.number() })),
    serial: z.string(),
    certifiedUntilMs: z.number(),
    /** Serial numbers that are void: stolen keys, replaced machines. */
    revoked: z.array(z.string()),
    expelled: z.boolean(),
    joinedMs: z.number(),
    /** Hash of the token and the request that it joined by: who asks the same again gets the same. */
    joinedBy: z.string().optional(),
  }),
});

export const tokenRecord = defineRecord({
  name: 'join token',
  version: 1,
  schema: z.object({
    site: z.string(),
    roles: z.array(z.string()),
    expiresMs: z.number(),
    uses: z.number().int().min(0),
  }),
});

export const historyRecord = defineRecord({
  name: 'bundle history',
  version: 1,
  schema: z.object({ version: z.number(), atMs: z.number(), what: z.string(), who: z.string() }),
});

export type ClusterRecord = ReturnType<typeof clusterRecord.decode>;
export type HeadRecord = ReturnType<typeof headRecord.decode>;
export type NodeRecord = ReturnType<typeof nodeRecord.decode>;
export type TokenRecord = ReturnType<typeof tokenRecord.decode>;
export type HistoryRecord = ReturnType<typeof historyRecord.decode>;
