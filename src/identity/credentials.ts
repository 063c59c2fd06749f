/**
 * Credentials: S3 key pairs (type `ec2`) and whatever else clients of Keystone keep. Blobs are
 * sealed; what a proxy needs of a key pair, all but its secret, is in the public directory.
 */
import { createHash } from 'node:crypto';
import { badRequest, commit, type IdentityContext, makeId, notFound, nowMs } from './context.ts';
import type { Credential } from './records.ts';
import { secretText } from './secret-text.ts';

/** What begins like a session's access key is no stored pair's. */
const ACCESS_KEY_FORM = /^(?!ANLOSTS)[\w.:-]{3,128}$/;
const ACCESS_KEY_LENGTH = 20;
const SECRET_LENGTH = 40;
const MIN_SECRET_LENGTH = 8;
const MAX_BLOB_BYTES = 16_384;

export interface KeyPair {
  readonly credentialId: string;
  readonly userId: string;
  readonly projectId: string;
  readonly access: string;
  readonly secret: string;
}

export interface NewKeyPair {
  readonly userId: string;
  readonly projectId: string;
  readonly access?: string;
  readonly secret?: string;
}

export interface KeyFacts {
  readonly access: string;
  readonly credentialId: string;
  readonly enabled: boolean;
  readonly createdMs: number;
}

export interface OpenCredential {
  readonly id: string;
  readonly type: string;
  readonly userId: string;
  readonly projectId?: string;
  readonly blob: string;
}

export class Credentials {
  readonly #context: IdentityContext;

  constructor(context: IdentityContext) {
    this.#context = context;
  }

  async createKeyPair(wanted: NewKeyPair): Promise<KeyPair> {
    const { random } = this.#context.env;
    const { userId, projectId } = wanted;
    const access = wanted.access ?? secretText(random, ACCESS_KEY_LENGTH).toUpperCase();
    const secret = wanted.secret ?? secretText(random, SECRET_LENGTH);
    if (!ACCESS_KEY_FORM.test(access)) {
      throw badRequest('An access key has 3 to 128 letters, digits, or any of "_.:-".');
    }
    if (secret.length < MIN_SECRET_LENGTH || secret.length > 128) {
      throw badRequest('A secret key has 8 to 128 characters.');
    }
    const blob = JSON.stringify({ access, secret });
    const { id } = await this.create({ type: 'ec2', userId, projectId, blob });
    return { credentialId: id, userId, projectId, access, secret };
  }

  /** As POST /v3/credentials: an ec2 blob is JSON with access and secret. */
  async create(wanted: Omit<OpenCredential, 'id'>): Promise<OpenCredential> {
    const { credentials, accessKeys, users, projects } = this.#context.store;
    const { type, userId, projectId, blob } = wanted;
    const access = type === 'ec2' ? parseKeyPair(blob).access : undefined;
    if (access !== undefined && projectId === undefined) {
      throw badRequest('An ec2 credential needs a project.');
    }
    const id = access === undefined ? makeId(this.#context) : keyPairId(access);
    const record = this.#sealed(id, { type, userId, projectId, access, blob });
    const transaction = {
      compare: [
        users.exists(true, userId),
        ...(projectId === undefined ? [] : [projects.exists(true, projectId)]),
        credentials.exists(false, id),
      ],
      success: [
        credentials.put(record, id),
        ...(access === undefined || projectId === undefined
          ? []
          : [
              accessKeys.put(
                { access, credentialId: id, userId, projectId, enabled: true },
                access,
              ),
            ]),
      ],
    };
    await commit(
      this.#context,
      transaction,
      'No such user or project, or the access key is taken.',
    );
    return { id, type, userId, projectId, blob };
  }

  async get(id: string): Promise<OpenCredential> {
    const stored = await this.#context.store.credentials.get(id);
    if (stored === undefined) throw notFound('credential', id);
    return this.#open(stored.fields);
  }

  async list(): Promise<OpenCredential[]> {
    const stored = await this.#context.store.credentials.list();
    return stored.map(({ fields }) => this.#open(fields));
  }

  async keyPairsOf(userId: string): Promise<KeyPair[]> {
    const stored = await this.#context.store.credentials.list();
    return stored
      .map(({ fields }) => fields)
      .filter((fields) => fields.type === 'ec2' && fields.userId === userId)
      .map((fields) => toKeyPair(this.#open(fields)));
  }

  async keyPair(access: string): Promise<KeyPair | undefined> {
    const stored = await this.#context.store.credentials.get(keyPairId(access));
    return stored && toKeyPair(this.#open(stored.fields));
  }

  async isActive(access: string): Promise<boolean> {
    return (await this.#context.store.accessKeys.get(access))?.fields.enabled === true;
  }

  /** A key that is not active signs nothing; it can be made active again. */
  async activate(access: string, enabled: boolean): Promise<void> {
    const { accessKeys } = this.#context.store;
    const stored = await accessKeys.get(access);
    if (stored === undefined) throw notFound('access key', access);
    const transaction = {
      compare: [accessKeys.unchanged(stored)],
      success: [accessKeys.put({ ...stored.fields, enabled }, access)],
    };
    await commit(this.#context, transaction, 'The access key was changed at the same time.');
  }

  /** What is known of a user's keys in one project, without their secrets. */
  async accessKeysOf(userId: string, projectId: string): Promise<KeyFacts[]> {
    const { credentials, accessKeys } = this.#context.store;
    const own = (await accessKeys.list())
      .map(({ fields }) => fields)
      .filter((key) => key.userId === userId && key.projectId === projectId);
    const found = await Promise.all(
      own.map(async ({ access, credentialId, enabled }) => {
        const stored = await credentials.get(credentialId);
        return stored && { access, credentialId, enabled, createdMs: stored.fields.createdMs };
      }),
    );
    return found.filter((key) => key !== undefined);
  }

  /** Replaces the blob or type; a key pair keeps its access key, which its id is made from. */
  async update(
    id: string,
    change: { readonly type?: string; readonly blob?: string },
  ): Promise<OpenCredential> {
    const { credentials } = this.#context.store;
    const stored = await credentials.get(id);
    if (stored === undefined) throw notFound('credential', id);
    const { access, userId, projectId } = stored.fields;
    const { type = stored.fields.type, blob = this.#open(stored.fields).blob } = change;
    const isPair = access !== undefined;
    if (isPair !== (type === 'ec2') || (isPair && parseKeyPair(blob).access !== access)) {
      throw badRequest('The access key and type of a key pair cannot change.');
    }
    const { createdMs } = stored.fields;
    const record = { ...this.#sealed(id, { type, userId, projectId, access, blob }), createdMs };
    const transaction = {
      compare: [credentials.unchanged(stored)],
      success: [credentials.put(record, id)],
    };
    await commit(this.#context, transaction, 'The credential was changed at the same time.');
    return { id, type, userId, projectId, blob };
  }

  async remove(id: string): Promise<void> {
    const { credentials, accessKeys } = this.#context.store;
    const stored = await credentials.get(id);
    if (stored === undefined) throw notFound('credential', id);
    const { access } = stored.fields;
    const transaction = {
      compare: [credentials.unchanged(stored)],
      success: [
        credentials.remove(id),
        ...(access === undefined ? [] : [accessKeys.remove(access)]),
      ],
    };
    await commit(this.#context, transaction, 'The credential was changed at the same time.');
  }

  #sealed(
    id: string,
    credential: Omit<OpenCredential, 'id'> & { readonly access: string | undefined },
  ): Credential {
    const { blob, ...rest } = credential;
    if (Buffer.byteLength(blob) > MAX_BLOB_BYTES) throw badRequest('The blob is too large.');
    const purpose = this.#context.store.credentials.key(id);
    const sealed = this.#context.vault.seal(Buffer.from(blob), purpose);
    return { ...rest, id, createdMs: nowMs(this.#context), sealed };
  }

  #open(record: Credential): OpenCredential {
    const { id, type, userId, projectId, sealed } = record;
    const purpose = this.#context.store.credentials.key(id);
    return {
      id,
      type,
      userId,
      projectId,
      blob: this.#context.vault.open(sealed, purpose).toString(),
    };
  }
}

/** As Keystone: the SHA-256 of the access key, so that one is found by the other. */
function keyPairId(access: string): string {
  return createHash('sha256').update(access).digest('hex');
}

function toKeyPair(credential: OpenCredential): KeyPair {
  const { id, userId, projectId = '', blob } = credential;
  return { credentialId: id, userId, projectId, ...parseKeyPair(blob) };
}

function parseKeyPair(blob: string): { access: string; secret: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(blob);
  } catch {
    throw badRequest('The blob of an ec2 credential is JSON.');
  }
  const { access, secret } = (parsed ?? {}) as Record<string, unknown>;
  const form = typeof access === 'string' && ACCESS_KEY_FORM.test(access);
  if (typeof access !== 'string' || typeof secret !== 'string' || !form) {
    throw badRequest('The blob of an ec2 credential has access and secret.');
  }
  return { access, secret };
}

/** The S3 id of a project: stable, and of the form clients expect (64 hex digits). */
export function canonicalIdOf(projectId: string): string {
  return createHash('sha256').update(`anello canonical id\0${projectId}`).digest('hex');
}
