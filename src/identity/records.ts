/**
 * What identity keeps in state, one record kind each, and the keys they are under.
 *
 * `identity/public/` is what every proxy follows: names, revocations, public keys; nothing in it is
 * secret. `identity/private/` is for identity services only. An operator of etcd can grant rights by
 * these two prefixes.
 */
import { z } from 'zod';
import { defineRecord } from '#state/record.ts';
import { domainIdSchema, idSchema, nameSchema } from './id.ts';

export const IDENTITY = 'identity/';
export const PUBLIC = 'identity/public/';
export const PRIVATE = 'identity/private/';

const description = z.string().max(4096).default('');
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'bytes');
const millis = z.number().int().nonnegative();
export const MAX_EXTRA_CHARS = 16_384;
/** What clients add to a record that we have no use for (extra.ts). */
const extra = z.string().max(MAX_EXTRA_CHARS).optional();

export const domainSchema = z.strictObject({
  id: domainIdSchema,
  name: nameSchema,
  enabled: z.boolean(),
  description,
  extra,
});
export type Domain = z.output<typeof domainSchema>;

export const projectSchema = z.strictObject({
  id: idSchema,
  name: nameSchema,
  domainId: domainIdSchema,
  parentId: idSchema.optional(),
  enabled: z.boolean(),
  description,
  extra,
});
export type Project = z.output<typeof projectSchema>;

export const userSchema = z.strictObject({
  id: idSchema,
  name: nameSchema,
  domainId: domainIdSchema,
  enabled: z.boolean(),
  description,
  email: z.string().max(320).optional(),
  defaultProjectId: idSchema.optional(),
  extra,
});
export type User = z.output<typeof userSchema>;

const groupSchema = z.strictObject({
  id: idSchema,
  name: nameSchema,
  domainId: domainIdSchema,
  description,
  extra,
});
export type Group = z.output<typeof groupSchema>;

const roleSchema = z.strictObject({
  id: idSchema,
  name: nameSchema,
  /** How tokens name it. Never given out twice. */
  number: z.number().int().min(1).max(0xffff),
  domainId: domainIdSchema.optional(),
  description,
  extra,
});
export type Role = z.output<typeof roleSchema>;

/** Ed25519. Tokens of a key count until `notAfterMs`; the newest one whose time has come signs. */
const publicKeySchema = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{8}$/),
  publicKey: bytes,
  notBeforeMs: millis,
  notAfterMs: millis,
});
export type PublicKeyRecord = z.output<typeof publicKeySchema>;

/** Its modRevision says which tokens it revokes; it may go once all of these have expired. */
const revocationSchema = z.strictObject({ atMs: millis, expiresMs: millis });
export type Revocation = z.output<typeof revocationSchema>;

/** What a proxy may know of an S3 key pair. */
const accessKeySchema = z.strictObject({
  access: z.string(),
  credentialId: z.string(),
  userId: idSchema,
  projectId: idSchema,
  enabled: z.boolean(),
});
export type AccessKey = z.output<typeof accessKeySchema>;

const passwordSchema = z.strictObject({
  hash: z.string(),
  changedMs: millis,
  /** From then on it only serves to set a new one. */
  expiresMs: millis.optional(),
});
export type PasswordRecord = z.output<typeof passwordSchema>;

const sealedSchema = z.strictObject({ sealed: bytes });
export type SealedRecord = z.output<typeof sealedSchema>;

/** `type` is ec2 for S3 key pairs; the blob (JSON text) is sealed. */
const credentialSchema = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{64}$|^[0-9a-f]{32}$/),
  type: z.string().min(1).max(255),
  userId: idSchema,
  projectId: idSchema.optional(),
  access: z.string().optional(),
  createdMs: millis,
  sealed: bytes,
});
export type Credential = z.output<typeof credentialSchema>;

const grantSchema = z.strictObject({ createdMs: millis });
export type Grant = z.output<typeof grantSchema>;

const applicationCredentialSchema = z.strictObject({
  id: idSchema,
  name: nameSchema,
  userId: idSchema,
  projectId: idSchema,
  roleIds: z.array(idSchema).max(64),
  hash: z.string(),
  createdMs: millis,
  expiresMs: millis.optional(),
  unrestricted: z.boolean(),
  description,
});
export type ApplicationCredential = z.output<typeof applicationCredentialSchema>;

const serviceSchema = z.strictObject({
  id: idSchema,
  type: z.string().min(1).max(255),
  name: z.string().max(255),
  enabled: z.boolean(),
  description,
  extra,
});
export type Service = z.output<typeof serviceSchema>;

export const INTERFACES = ['public', 'internal', 'admin'] as const;
const endpointSchema = z.strictObject({
  id: idSchema,
  serviceId: idSchema,
  interface: z.enum(INTERFACES),
  regionId: z.string().max(255).optional(),
  url: z.string().min(1).max(2048),
  enabled: z.boolean(),
  extra,
});
export type Endpoint = z.output<typeof endpointSchema>;

const regionSchema = z.strictObject({
  id: z.string().min(1).max(255),
  parentId: z.string().max(255).optional(),
  description,
  extra,
});
export type Region = z.output<typeof regionSchema>;

const trustSchema = z.strictObject({
  id: idSchema,
  trustorId: idSchema,
  trusteeId: idSchema,
  projectId: idSchema.optional(),
  roleIds: z.array(idSchema).max(64),
  impersonation: z.boolean(),
  expiresMs: millis.optional(),
  remainingUses: z.number().int().nonnegative().optional(),
  redelegationCount: z.number().int().nonnegative(),
  redelegatedTrustId: idSchema.optional(),
  allowRedelegation: z.boolean(),
  createdMs: millis,
});
export type Trust = z.output<typeof trustSchema>;

/** The id is the hash of its code. */
export const invitationSchema = z.strictObject({
  id: idSchema,
  projectId: idSchema,
  roleIds: z.array(idSchema).max(64),
  uses: z.number().int().positive(),
  expiresMs: millis,
  createdMs: millis,
});
export type Invitation = z.output<typeof invitationSchema>;

/** Failed log-ins of one user, from one address or from all. */
const lockOutSchema = z.strictObject({
  failures: z.number().int().positive(),
  sinceMs: millis,
  lockedUntilMs: millis.optional(),
  expiresMs: millis,
});
export type LockOut = z.output<typeof lockOutSchema>;

/** When a user or group of a project was made (iam/). */
const iamEntitySchema = z.strictObject({ createdMs: millis });
export type IamEntity = z.output<typeof iamEntitySchema>;

/** A role of a project that may be taken on by whom its trust policy names. */
const iamRoleSchema = z.strictObject({
  id: idSchema,
  projectId: idSchema,
  name: z.string().min(1).max(64),
  description,
  /** Policy text. */
  trust: z.string().max(16_384),
  createdMs: millis,
  maxSessionSeconds: z.number().int().positive(),
});
export type IamRole = z.output<typeof iamRoleSchema>;

/** The policies of one user, group or role in one project. */
const policiesSchema = z.strictObject({
  documents: z.array(z.strictObject({ name: z.string().max(128), text: z.string().max(32_768) })),
});
export type Policies = z.output<typeof policiesSchema>;

const version = 1;
export const DOMAIN = defineRecord({ name: 'domain', version, schema: domainSchema });
export const PROJECT = defineRecord({ name: 'project', version, schema: projectSchema });
export const USER = defineRecord({ name: 'user', version, schema: userSchema });
export const GROUP = defineRecord({ name: 'group', version, schema: groupSchema });
export const ROLE = defineRecord({ name: 'role', version, schema: roleSchema });
export const PUBLIC_KEY = defineRecord({ name: 'public-key', version, schema: publicKeySchema });
export const REVOCATION = defineRecord({ name: 'revocation', version, schema: revocationSchema });
export const ACCESS_KEY = defineRecord({ name: 'access-key', version, schema: accessKeySchema });
export const PASSWORD = defineRecord({ name: 'password', version, schema: passwordSchema });
export const SEALED = defineRecord({ name: 'sealed', version, schema: sealedSchema });
export const CREDENTIAL = defineRecord({ name: 'credential', version, schema: credentialSchema });
export const GRANT = defineRecord({ name: 'grant', version, schema: grantSchema });
export const APPLICATION_CREDENTIAL = defineRecord({
  name: 'application-credential',
  version,
  schema: applicationCredentialSchema,
});
export const SERVICE = defineRecord({ name: 'service', version, schema: serviceSchema });
export const ENDPOINT = defineRecord({ name: 'endpoint', version, schema: endpointSchema });
export const REGION = defineRecord({ name: 'region', version, schema: regionSchema });
export const TRUST = defineRecord({ name: 'trust', version, schema: trustSchema });
export const INVITATION = defineRecord({ name: 'invitation', version, schema: invitationSchema });
export const LOCK_OUT = defineRecord({ name: 'lock-out', version, schema: lockOutSchema });
export const IAM_ENTITY = defineRecord({ name: 'iam-entity', version, schema: iamEntitySchema });
export const IAM_ROLE = defineRecord({ name: 'iam-role', version, schema: iamRoleSchema });
export const POLICIES = defineRecord({ name: 'policies', version, schema: policiesSchema });
