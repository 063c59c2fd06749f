/**
 * Who calls STS or IAM with a signature of their S3 keys, as AWS's own clients do: version 4, service `sts`
 * or `iam`, in the Authorization header, over the whole body. The keys may be a session's.
 */
import { hash } from 'node:crypto';
import type { Context } from 'hono';
import { isSignedWith, timelinessOf, unsignedAmzHeaders } from '#auth/sigv4.ts';
import { readClaim, type SigV4Claim } from '#auth/sigv4-claim.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import type { VerifiedToken } from '#identity/token-verifier.ts';
import type { KeystoneApi } from './api.ts';
import { rawRequestOf } from './raw-request.ts';
import { freshToken } from './tokens.ts';

export interface StsCaller {
  readonly token: VerifiedToken;
  readonly text: string;
  /** With keys: stored ones, or a session's. */
  readonly keys?: 'stored' | 'session';
}

/**
 * Undefined: the request is not signed.
 *
 * @throws OperatingError `sts-incomplete-signature`, `sts-unknown-key`, `sts-wrong-signature`,
 *   `sts-expired`, `state-unavailable`
 */
export async function signedCaller(
  api: KeystoneApi,
  c: Context,
  body: string,
  service: 'sts' | 'iam',
): Promise<StsCaller | undefined> {
  const request = rawRequestOf(c);
  const claim = claimOf(() => readClaim(request));
  if (claim === undefined) return undefined;
  if (claim.service !== service || unsignedAmzHeaders(claim, request.headers).length > 0)
    throw refused('sts-incomplete-signature', 'The signature does not cover this request.');
  if (timelinessOf(claim, api.nowMs()) !== 'now')
    throw refused('sts-expired', 'Signature expired or not yet current.');
  const key = await issueKey(api, claim);
  if (key === undefined)
    throw refused('sts-unknown-key', 'The security token included in the request is invalid.');
  if (!isSignedWith(key.signingKey, request, claim, hash('sha256', body)))
    throw refused(
      'sts-wrong-signature',
      'The request signature we calculated does not match the signature you provided.',
    );
  const token = await freshToken(api, key.token, { keepsToPolicies: true });
  return { token, text: key.token, keys: claim.sessionToken === undefined ? 'stored' : 'session' };
}

function claimOf(read: () => SigV4Claim | undefined): SigV4Claim | undefined {
  try {
    return read();
  } catch (cause) {
    if (codeOf(cause) !== 'bad-signature-form') throw cause;
    const { message } = cause as OperatingError;
    throw new OperatingError('sts-incomplete-signature', message, {}, { cause });
  }
}

/** A claim for another day than ours has no key. */
async function issueKey(api: KeystoneApi, claim: SigV4Claim) {
  try {
    return await api.identity.s3Keys.issue(claim);
  } catch (error) {
    if (codeOf(error) === 'bad-request') return undefined;
    throw error;
  }
}

function refused(code: string, message: string): OperatingError {
  return new OperatingError(code, message);
}
