/** What every route of the identity API uses: who asks, what they may, and checked input. */
import type { Context } from 'hono';
import type { z } from 'zod';
import { messageOf, OperatingError } from '#base/errors.ts';
import { isNestedDeeper } from '#base/nesting.ts';
import type { Log } from '#env/env.ts';
import { encodeExtra } from '#identity/extra.ts';
import type { Grid, GridProof } from '#identity/grid.ts';
import { domainIdSchema, idSchema } from '#identity/id.ts';
import type { Identity } from '#identity/identity.ts';
import type { VerifiedToken } from '#identity/token-verifier.ts';
import type { WebLogIns } from '#identity/web-log-ins.ts';
import type { Catalogue } from './catalogue.ts';
import type { ProjectUsage } from './usage.ts';

export interface KeystoneDeps {
  readonly identity: Identity;
  readonly log: Log;
  readonly catalogue: Catalogue;
  /** Where clients reach this API: `http://host:port`, as this request came. */
  readonly baseUrl: (c: Context) => string;
  /** The object store to name in v1 replies and first in catalogues; see catalogue.ts. */
  readonly homeRegion: (c: Context) => string | undefined;
  /** The client's address, to limit guessing. */
  readonly address: (c: Context) => string;
  /** Certificates of grids and others; absent: not offered. */
  readonly grid?: Grid;
  /** Web identity tokens; absent: not offered. */
  readonly web?: WebLogIns;
  readonly usage?: (projectId: string) => Promise<ProjectUsage>;
  /** The client's certificates on this connection, DER, leaf first. */
  readonly peerChain: (c: Context) => readonly Uint8Array[];
}

const ADMIN_ROLE = 'admin';
const SERVICE_ROLE = 'service';

export class KeystoneApi {
  readonly identity: Identity;
  readonly deps: KeystoneDeps;

  constructor(deps: KeystoneDeps) {
    this.deps = deps;
    this.identity = deps.identity;
  }

  /** @throws OperatingError `unauthorized` */
  caller(c: Context): VerifiedToken {
    const text = c.req.header('X-Auth-Token');
    const verification = text === undefined ? undefined : this.identity.verifier.verify(text);
    if (!verification?.valid) {
      throw new OperatingError(
        'unauthorized',
        'The request you have made requires authentication.',
      );
    }
    return verification.token;
  }

  /** @throws OperatingError `unauthorized`: no certificate, a bad one, or no rule for it */
  proveCertificate(c: Context): GridProof {
    const { grid, peerChain, log, address } = this.deps;
    const chain = peerChain(c);
    if (grid === undefined || chain.length === 0) {
      throw new OperatingError('unauthorized', 'No client certificate came with the connection.');
    }
    try {
      return grid.prove(chain);
    } catch (error) {
      log.warn('identity.certificate-refused', { address: address(c), reason: messageOf(error) });
      // Whoever holds the certificate may know what is wrong with it.
      throw new OperatingError('unauthorized', messageOf(error), {}, { cause: error });
    }
  }

  /** Keystone's rule: the role `admin`, in whatever scope, administers identity. */
  admin(c: Context): VerifiedToken {
    const caller = this.caller(c);
    if (!isAdmin(caller)) throw notAuthorized();
    return caller;
  }

  /** A user's own affairs, or an administrator. */
  selfOrAdmin(c: Context, userId: string): VerifiedToken {
    const caller = this.caller(c);
    if (caller.user.id !== userId && !isAdmin(caller)) throw notAuthorized();
    return caller;
  }

  /** Administrators leave a trace of every act. */
  audit(caller: VerifiedToken, act: string, facts: Record<string, unknown>): void {
    this.deps.log.info('identity.admin-act', { act, by: caller.user.id, ...facts });
  }

  nowMs(): number {
    return Math.floor(this.identity.context.env.clock.wallMicros() / 1000);
  }

  url(c: Context, path: string): string {
    return `${this.deps.baseUrl(c)}/v3${path}`;
  }
}

/** What S3 keys give (a session, a service's /v3/ec2tokens) is for objects, whoever they belong to. */
export function isAdmin({ roles, fields }: VerifiedToken): boolean {
  if (fields.methods.includes('ec2credential')) return false;
  return roles.some(({ name }) => name === ADMIN_ROLE);
}

export function isService(caller: VerifiedToken): boolean {
  return caller.roles.some(({ name }) => name === SERVICE_ROLE);
}

/** A way in that was limited on purpose: it must not make itself another, longer-lived one. */
export function isDelegated({ fields }: VerifiedToken): boolean {
  const { applicationCredentialId, trustId, methods } = fields;
  return (
    applicationCredentialId !== undefined || trustId !== undefined || methods.includes('limited')
  );
}

export function notAuthorized(): OperatingError {
  return new OperatingError('forbidden', 'You are not authorized to perform the requested action.');
}

/** Further fields are kept as they come, and given back: no deeper than anybody can read again. */
const MAX_NESTING = 64;

/** @throws OperatingError `bad-request` */
export async function readBody<Fields>(c: Context, schema: z.ZodType<Fields>): Promise<Fields> {
  let body: unknown;
  try {
    body = await c.req.json();
  } catch {
    throw new OperatingError('bad-request', 'Expecting a JSON object in the request body.');
  }
  if (isNestedDeeper(body, MAX_NESTING))
    throw new OperatingError('bad-request', `The body is nested more than ${MAX_NESTING} deep.`);
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue?.path.join('.') || 'body';
  throw new OperatingError('bad-request', `Invalid input for field '${where}': ${issue?.message}`);
}

/** An id from the path; what cannot be one was not found. */
export function pathId(c: Context, name: string, what: string): string {
  const id = c.req.param(name) ?? '';
  const schema = what === 'domain' ? domainIdSchema : idSchema;
  if (schema.safeParse(id).success) return id;
  throw new OperatingError('not-found', `Could not find ${what}: ${id.slice(0, 255)}.`);
}

/** Splits a body's object into what we know and the rest, which is kept as it came. */
export function extraOf(
  fields: Readonly<Record<string, unknown>>,
  known: readonly string[],
): string | undefined {
  const rest = Object.entries(fields).filter(([key]) => !known.includes(key));
  return encodeExtra(Object.fromEntries(rest));
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace(/Z$/, '000Z');
}

export const nullable = <Schema extends z.ZodType>(schema: Schema) =>
  schema.nullish().transform((value) => value ?? undefined);

type Sent<Fields> = { [Key in keyof Fields]?: Exclude<Fields[Key], undefined> };

/** Without the fields that were not sent: they stay as they are. */
export function defined<Fields extends object>(fields: Fields): Sent<Fields> {
  const sent = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(sent) as Sent<Fields>;
}

/** A time in the future. Keystone's times are UTC, with or without the letter. */
export function parseTime(api: KeystoneApi, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : `${text}Z`);
  if (Number.isFinite(ms) && ms > api.nowMs()) return ms;
  throw new OperatingError('bad-request', 'expires_at is not a time in the future.');
}
