/**
 * From a request's headers to its Caller, without network: tokens are verified with public keys and
 * a directory of names that the proxy keeps on its own disk.
 */
import type { Caller } from './caller.ts';

/** Node's IncomingHttpHeaders, or any object of lower-case names. */
export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface Authenticator {
  /**
   * Reads X-Auth-Token (or X-Storage-Token, or Authorization: Bearer). A bad token makes an
   * anonymous caller that says why, as in Swift: a public container is readable all the same.
   */
  authenticate(headers: RequestHeaders): Promise<Caller>;
  /** The domain of an account's project: names in ACLs count only where it is the default one. */
  accountDomain(account: string): string | undefined;
  close(): Promise<void>;
}
