/** What every part of identity is made from, and small things they share. */
import { OperatingError } from '#base/errors.ts';
import type { Env } from '#env/env.ts';
import type { Transaction, TransactionResult } from '#state/state.ts';
import type { Directory } from './directory.ts';
import { newId } from './id.ts';
import { DEFAULT_LN, type Passwords } from './password.ts';
import type { IdentityStore } from './store.ts';
import type { Vault } from './vault.ts';

export interface IdentityContext {
  readonly env: Pick<Env, 'clock' | 'random' | 'log'>;
  readonly store: IdentityStore;
  readonly vault: Vault;
  readonly passwords: Passwords;
  readonly directory: Directory;
  readonly settings: IdentitySettings;
}

export interface IdentitySettings {
  readonly tokenLifetimeMs: number;
  /** How long one signing key signs. */
  readonly keyPeriodMs: number;
  /** Cost of new passwords (password.ts). */
  readonly passwordLn: number;
  /** A password set by its user is good for so long; absent: for ever. */
  readonly passwordLifetimeMs?: number;
  /** Anybody may enrol, and has these roles in a project of their own. Absent: by invitation only. */
  readonly openRegistration?: { readonly roles: readonly string[] };
}

export const DEFAULT_SETTINGS: IdentitySettings = {
  // Longer than Keystone's hour: data requests must outlive an identity outage of hours.
  tokenLifetimeMs: 12 * 3600 * 1000,
  keyPeriodMs: 30 * 24 * 3600 * 1000,
  passwordLn: DEFAULT_LN,
};

/** An S3 token for tomorrow, fetched today, with the skew that SigV4 allows. */
const LONGEST_S3_TOKEN_MS = 49 * 3600 * 1000;

/** No token lives longer: how long keys and revocations must be remembered. */
export function longestTokenMs(settings: IdentitySettings): number {
  return Math.max(settings.tokenLifetimeMs, LONGEST_S3_TOKEN_MS);
}

export function nowMs(context: Pick<IdentityContext, 'env'>): number {
  return Math.floor(context.env.clock.wallMicros() / 1000);
}

export function makeId(context: Pick<IdentityContext, 'env'>): string {
  return newId(context.env.random);
}

export function notFound(what: string, id: string): OperatingError {
  return new OperatingError('not-found', `Could not find ${what}: ${id}.`, { what, id });
}

export function conflict(message: string): OperatingError {
  return new OperatingError('conflict', message);
}

export function badRequest(message: string): OperatingError {
  return new OperatingError('bad-request', message);
}

export function forbidden(message: string): OperatingError {
  return new OperatingError('forbidden', message);
}

/** Commits, or says that something else changed first. @throws OperatingError `conflict` */
export async function commit(
  context: Pick<IdentityContext, 'store'>,
  transaction: Transaction,
  whatConflicts: string,
): Promise<TransactionResult> {
  const result = await context.store.state.txn(transaction);
  if (!result.succeeded) throw conflict(whatConflicts);
  return result;
}
