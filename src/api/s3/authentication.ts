/**
 * Who signed this request? SigV4 is checked here with the key that identity derived for the day; SigV2
 * needs the secret and goes to identity. Every x-amz-* header must be under the signature: an unsigned
 * one could have been added by whoever holds a presigned URL.
 */
import { ANONYMOUS } from '#auth/caller.ts';
import { readSigV2, type SigV2Claim, sigV2StringsToSign } from '#auth/sigv2.ts';
import {
  canonicalRequest,
  isSignedWith,
  SKEW_MS,
  stringToSign,
  timelinessOf,
  UNSIGNED_PAYLOAD,
  unsignedAmzHeaders,
} from '#auth/sigv4.ts';
import { basicTime, readClaim, type SigV4Claim, type SigV4Fault } from '#auth/sigv4-claim.ts';
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import { refuse, type S3Error } from './errors.ts';
import type { S3Request } from './request.ts';
import { isoDate } from './xml.ts';

/** Sets the request's caller and signature. @throws S3Error */
export async function authenticate(request: S3Request): Promise<void> {
  const claim = claimOf(request);
  if (claim !== undefined) return await withSigV4(request, claim);
  const old = readSigV2(request.signed);
  if (old === 'incomplete') {
    throw refuse(
      'AccessDenied',
      'Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters',
    );
  }
  if (old === 'malformed') {
    throw refuse(
      'InvalidArgument',
      "Authorization header is invalid -- one and only one ' ' (space) required",
    );
  }
  if (old !== undefined) return await withSigV2(request, old);
  if (request.header('authorization') !== undefined) {
    if (request.header('authorization') === '') throw refuse('AccessDenied');
    throw refuse('InvalidArgument', 'Unsupported Authorization Type', {
      ArgumentName: 'Authorization',
    });
  }
  request.caller = ANONYMOUS;
}

function claimOf(request: S3Request): SigV4Claim | undefined {
  try {
    return readClaim(request.signed);
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code !== 'bad-signature-form') throw error;
    throw malformedClaim(request, error.facts as unknown as SigV4Fault, messageOf(error));
  }
}

function malformedClaim(request: S3Request, fault: SigV4Fault, message: string): S3Error {
  if (fault.form === 'both') {
    return refuse(
      'InvalidArgument',
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
    );
  }
  // A clock that is off makes both wrong; it is what its owner must be told of.
  if (fault.reason === 'day' && Math.abs(request.nowMicros / 1000 - fault.dateMs) > SKEW_MS) {
    return skewed(request, basicTime(fault.dateMs));
  }
  if (fault.form === 'query') return refuse('AuthorizationQueryParametersError', message);
  if (fault.reason === 'date') {
    return refuse('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
  }
  return refuse(
    'AuthorizationHeaderMalformed',
    `The authorization header is malformed; ${message}`,
  );
}

async function withSigV4(request: S3Request, claim: SigV4Claim): Promise<void> {
  const { access, day, region, service, sessionToken } = claim;
  if (service !== 's3') {
    const wrong = `incorrect service "${service}". This endpoint belongs to "s3".`;
    throw claim.form === 'query'
      ? refuse(
          'AuthorizationQueryParametersError',
          `Error parsing the X-Amz-Credential parameter; ${wrong}`,
        )
      : refuse('AuthorizationHeaderMalformed', `The authorization header is malformed; ${wrong}`);
  }
  checkTime(request, claim);
  const unsigned = unsignedAmzHeaders(claim, request.incoming.headers);
  if (unsigned.length > 0) {
    throw refuse(
      'AccessDenied',
      'There were headers present in the request which were not signed',
      {
        HeadersNotSigned: unsigned.join(', '),
      },
    );
  }
  if (claim.form === 'header' && claim.payload === undefined) {
    throw refuse(
      'InvalidRequest',
      'Missing required header for this request: x-amz-content-sha256',
    );
  }
  const key = { access, day, region, service, ...(sessionToken !== undefined && { sessionToken }) };
  const signer = await findSigner(request, key);
  if (!isSignedWith(signer.signingKey, request.signed, claim)) throw mismatch(request, claim);
  request.caller = signer.caller;
  const { date, signature: seed } = claim;
  request.signature = {
    access,
    payload: claim.payload,
    chunks: { signingKey: signer.signingKey, scope: { date, day, region, service }, seed },
    version: 4,
    form: claim.form,
  };
}

async function findSigner(
  request: S3Request,
  key: Parameters<S3Request['service']['signers']['findS3Key']>[0],
) {
  try {
    const signer = await request.service.signers.findS3Key(key);
    if (signer !== undefined) return signer;
  } catch (error) {
    // A scope that identity takes no key for: too far off, or one of too many.
    if (codeOf(error) !== 'bad-request') throw error;
    throw refuse('AuthorizationHeaderMalformed', messageOf(error));
  }
  if (key.sessionToken !== undefined) throw refuse('InvalidToken');
  throw refuse('InvalidAccessKeyId', undefined, { AWSAccessKeyId: key.access });
}

function checkTime(request: S3Request, claim: SigV4Claim): void {
  const nowMs = request.nowMicros / 1000;
  const timeliness = timelinessOf(claim, nowMs);
  if (timeliness === 'expired') {
    const { expiresSeconds = 0, dateMs } = claim;
    throw expired(request, dateMs + expiresSeconds * 1000, {
      'X-Amz-Expires': String(expiresSeconds),
    });
  }
  if (timeliness === 'now') return;
  throw claim.form === 'query'
    ? refuse('AccessDenied', 'Request is not yet valid')
    : skewed(request, claim.date);
}

function expired(
  request: S3Request,
  endMs: number,
  facts: Readonly<Record<string, string>> = {},
): S3Error {
  return refuse('AccessDenied', 'Request has expired', {
    ...facts,
    Expires: isoDate(endMs * 1000),
    ServerTime: isoDate(request.nowMicros),
  });
}

function skewed(request: S3Request, date: string): S3Error {
  return refuse('RequestTimeTooSkewed', undefined, {
    RequestTime: date,
    ServerTime: isoDate(request.nowMicros),
    MaxAllowedSkewMilliseconds: String(SKEW_MS),
  });
}

function mismatch(request: S3Request, claim: SigV4Claim): S3Error {
  const payload = claim.payload ?? UNSIGNED_PAYLOAD;
  const canonical = canonicalRequest(request.signed, claim, payload);
  return refuse('SignatureDoesNotMatch', undefined, {
    AWSAccessKeyId: claim.access,
    StringToSign: stringToSign(claim, canonical),
    SignatureProvided: claim.signature,
    CanonicalRequest: canonical,
  });
}

async function withSigV2(request: S3Request, claim: SigV2Claim): Promise<void> {
  const nowMs = request.nowMicros / 1000;
  if (claim.expires !== undefined && claim.expires * 1000 < nowMs) {
    throw expired(request, claim.expires * 1000);
  }
  if (claim.form === 'header') {
    if (claim.dateMs === undefined) {
      throw refuse('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header');
    }
    if (Math.abs(nowMs - claim.dateMs) > SKEW_MS)
      throw skewed(request, isoDate(claim.dateMs * 1000));
  }
  const texts = sigV2StringsToSign(request.signed, claim, request.hostBucket);
  const { access, signature, sessionToken } = claim;
  const { signers } = request.service;
  const caller = await signers.checkSigV2(access, texts, signature, sessionToken);
  if (caller === 'no-such-key') {
    throw refuse('InvalidAccessKeyId', undefined, { AWSAccessKeyId: access });
  }
  if (caller === undefined) {
    throw refuse('SignatureDoesNotMatch', undefined, {
      AWSAccessKeyId: access,
      StringToSign: texts[0]!,
      SignatureProvided: signature,
    });
  }
  request.caller = caller;
  request.signature = { access, payload: undefined, version: 2, form: claim.form };
}
