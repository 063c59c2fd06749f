/**
 * What every proxy knows of identity, in memory: names of users, projects, domains and roles by id,
 * public keys, revocations, S3 access keys without their secrets. Fed by the watch on
 * `identity/public/`; kept on the proxy's disk (directory-file.ts), so that tokens are verified and
 * ACLs by name decided when identity and state are out of reach.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { messageOf } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { RecordFormat } from '#state/record.ts';
import type { KeyValue, Revision, WatchEvent } from '#state/state.ts';
import { canonicalIdOf } from './credentials.ts';
import { ED25519_SPKI } from './ed25519.ts';
import {
  ACCESS_KEY,
  type AccessKey,
  DOMAIN,
  GRANT,
  GROUP,
  IAM_ROLE,
  type IamRole,
  POLICIES,
  PROJECT,
  PUBLIC,
  PUBLIC_KEY,
  REVOCATION,
  ROLE,
  USER,
} from './records.ts';

export interface NamedEntry {
  readonly id: string;
  readonly name: string;
  readonly domainId: string;
  readonly enabled: boolean;
}

export interface RoleEntry {
  readonly id: string;
  readonly name: string;
  readonly number: number;
}

export interface VerifyingKey {
  readonly key: KeyObject;
  readonly notAfterMs: number;
}

/** A public record as in state: what the file on disk keeps. */
export interface PublicItem {
  readonly key: string;
  readonly value: Uint8Array;
  readonly modRevision: Revision;
}

type Kind =
  | 'user'
  | 'project'
  | 'domain'
  | 'role'
  | 'key'
  | 'revocation'
  | 'access'
  | 'group'
  | 'member'
  | 'iam-role'
  | 'policies';

export class Directory {
  readonly users = new Map<string, NamedEntry>();
  readonly projects = new Map<string, NamedEntry>();
  readonly projectsByCanonicalId = new Map<string, NamedEntry>();
  readonly domains = new Map<string, Omit<NamedEntry, 'domainId'>>();
  readonly rolesByNumber = new Map<number, RoleEntry>();
  readonly keys = new Map<string, VerifyingKey>();
  readonly accessKeys = new Map<string, AccessKey>();
  readonly groups = new Map<string, Omit<NamedEntry, 'enabled'>>();
  /** Group ids by user id. */
  readonly memberships = new Map<string, Set<string>>();
  readonly iamRoles = new Map<string, IamRole>();
  /** Policy texts by `PROJECT/user/ID`, `PROJECT/group/ID`, `PROJECT/role/ID`. */
  readonly policies = new Map<string, readonly string[]>();
  /** By `user/ID`, `audit/ID` ...: the revision below which tokens are revoked. */
  readonly revocations = new Map<string, Revision>();
  /** Raised with every change: what was derived from the directory is checked again. */
  generation = 0;
  readonly #items = new Map<string, PublicItem>();
  readonly #roleNumbers = new Map<string, number>();
  readonly #log: Env['log'];
  #revision: Revision = 0;
  #waiters: (() => void)[] = [];

  constructor(env: Pick<Env, 'log'>) {
    this.#log = env.log;
  }

  get revision(): Revision {
    return this.#revision;
  }

  items(): Iterable<PublicItem> {
    return this.#items.values();
  }

  onSnapshot(items: readonly PublicItem[], revision: Revision): void {
    const present = new Set(items.map(({ key }) => key));
    for (const key of [...this.#items.keys()]) if (!present.has(key)) this.#remove(key);
    for (const item of items) this.#put(item);
    // A restored or replaced store may start lower again; the snapshot says what is.
    this.#advance(revision);
  }

  onEvents(events: readonly WatchEvent[], revision: Revision): void {
    for (const event of events) {
      // An authority may have told already (auth/directory-relay.ts): what is older must not come back.
      if (modRevisionOf(event) <= this.#revision) continue;
      if (event.kind === 'delete') this.#remove(event.key);
      else this.#put(publicItem(event.item));
    }
    this.#advance(Math.max(revision, this.#revision));
  }

  /** Resolves with the next change, or after `ms`. */
  async changed(clock: Env['clock'], ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(ms, resolve);
      this.#waiters.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Resolves when changes up to `revision` have come. False: they have not within `ms`. */
  async reached(clock: Env['clock'], revision: Revision, ms: number): Promise<boolean> {
    const deadline = clock.monotonicMs() + ms;
    while (this.#revision < revision) {
      const left = deadline - clock.monotonicMs();
      if (left <= 0) return false;
      await this.changed(clock, left);
    }
    return true;
  }

  #advance(revision: Revision): void {
    this.#revision = revision;
    this.generation += 1;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  #put(item: PublicItem): void {
    const known = this.#items.get(item.key);
    if (known !== undefined && known.modRevision === item.modRevision) return;
    try {
      this.#decode(item);
      this.#items.set(item.key, item);
    } catch (error) {
      // One damaged record must not stop the others; what it named is unknown, hence refused.
      this.#remove(item.key);
      this.#log.error('identity.damaged-record', { record: item.key, error: messageOf(error) });
    }
  }

  #decode({ key, value, modRevision }: PublicItem): void {
    const [kind, id] = split(key);
    const read = <Fields>(format: RecordFormat<Fields>): Fields => format.decode(value);
    if (kind === 'user') this.users.set(id, named(read(USER)));
    else if (kind === 'project') this.#putProject(named(read(PROJECT)));
    else if (kind === 'domain') this.domains.set(id, read(DOMAIN));
    else if (kind === 'access') this.accessKeys.set(id, read(ACCESS_KEY));
    else if (kind === 'group') {
      const { name, domainId } = read(GROUP);
      this.groups.set(id, { id, name, domainId });
    } else if (kind === 'member') {
      read(GRANT);
      const [userId, groupId] = pair(id);
      this.memberships.set(userId, (this.memberships.get(userId) ?? new Set()).add(groupId));
    } else if (kind === 'iam-role') this.iamRoles.set(pair(id)[1], read(IAM_ROLE));
    else if (kind === 'policies') {
      this.policies.set(
        id,
        read(POLICIES).documents.map(({ text }) => text),
      );
    } else if (kind === 'role') {
      const { number, name } = read(ROLE);
      this.#roleNumbers.set(id, number);
      this.rolesByNumber.set(number, { id, name, number });
    } else if (kind === 'key') {
      const { publicKey, notAfterMs } = read(PUBLIC_KEY);
      this.keys.set(id, { key: verifyingKey(publicKey), notAfterMs });
    } else if (kind === 'revocation') {
      read(REVOCATION);
      this.revocations.set(id, modRevision);
    }
  }

  #putProject(project: NamedEntry): void {
    this.projects.set(project.id, project);
    this.projectsByCanonicalId.set(canonicalIdOf(project.id), project);
  }

  #removeProject(id: string): void {
    this.projects.delete(id);
    this.projectsByCanonicalId.delete(canonicalIdOf(id));
  }

  #leave(userId: string, groupId: string): void {
    const groups = this.memberships.get(userId);
    groups?.delete(groupId);
    if (groups?.size === 0) this.memberships.delete(userId);
  }

  #remove(key: string): void {
    const [kind, id] = split(key);
    this.#items.delete(key);
    if (kind === 'user') this.users.delete(id);
    else if (kind === 'project') this.#removeProject(id);
    else if (kind === 'domain') this.domains.delete(id);
    else if (kind === 'access') this.accessKeys.delete(id);
    else if (kind === 'group') this.groups.delete(id);
    else if (kind === 'member') this.#leave(...pair(id));
    else if (kind === 'iam-role') this.iamRoles.delete(pair(id)[1]);
    else if (kind === 'policies') this.policies.delete(id);
    else if (kind === 'key') this.keys.delete(id);
    else if (kind === 'revocation') this.revocations.delete(id);
    else if (kind === 'role') {
      const number = this.#roleNumbers.get(id);
      if (number !== undefined) this.rolesByNumber.delete(number);
      this.#roleNumbers.delete(id);
    }
  }
}

/** `USER/GROUP`, `PROJECT/ROLE`. */
function pair(id: string): [string, string] {
  const slash = id.indexOf('/');
  return [id.slice(0, slash), id.slice(slash + 1)];
}

function modRevisionOf(event: WatchEvent): Revision {
  return event.kind === 'put' ? event.item.modRevision : event.modRevision;
}

function split(key: string): [Kind | undefined, string] {
  const rest = key.slice(PUBLIC.length);
  const slash = rest.indexOf('/');
  return [rest.slice(0, slash) as Kind, rest.slice(slash + 1)];
}

function publicItem({ key, value, modRevision }: KeyValue): PublicItem {
  return { key, value, modRevision };
}

function named(entry: NamedEntry): NamedEntry {
  const { id, name, domainId, enabled } = entry;
  return { id, name, domainId, enabled };
}

function verifyingKey(raw: Uint8Array): KeyObject {
  const der = Buffer.concat([ED25519_SPKI, raw]);
  return createPublicKey({ key: der, format: 'der', type: 'spki' });
}
