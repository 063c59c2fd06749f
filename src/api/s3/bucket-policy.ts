/** Bucket policies, and whether one makes its bucket public. */
import { isPublic, parsePolicy } from '#auth/policy/policy.ts';
import { codeOf, messageOf } from '#base/errors.ts';
import { ACL_HEADER, authorize } from './access.ts';
import { decodeGrants, isPublicGrantee } from './acl.ts';
import { acceptsAcls, isBlocked, POLICY_HEADER, policyOf } from './bucket-rules.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { reply, replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, leaf } from './xml.ts';

export async function getBucketPolicy(request: S3Request): Promise<void> {
  const { info } = await authorize(request, 's3:GetBucketPolicy');
  const text = info.headers[POLICY_HEADER];
  if (text === undefined)
    throw refuse('NoSuchBucketPolicy', undefined, { BucketName: request.bucket });
  reply(request, 200, ['Content-Type', 'application/json'], text);
}

export async function putBucketPolicy(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketPolicy');
  const { maxPolicyBytes } = request.service.limits;
  const text = (await readDocument(request, maxPolicyBytes)).toString('utf8');
  const policy = parsed(text, bucket.container);
  if (isPublic(policy) && isBlocked(bucket, 'BlockPublicPolicy')) throw refuse('AccessDenied');
  await configure(request, bucket, { [POLICY_HEADER]: text });
  replyEmpty(request, 204);
}

function parsed(text: string, container: string) {
  try {
    return parsePolicy(text, { principals: true, bucket: container });
  } catch (error) {
    if (codeOf(error) !== 'malformed-policy') throw error;
    throw refuse('MalformedPolicy', messageOf(error));
  }
}

export async function deleteBucketPolicy(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:DeleteBucketPolicy');
  await configure(request, bucket, { [POLICY_HEADER]: null });
  replyEmpty(request, 204);
}

export async function getBucketPolicyStatus(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetBucketPolicyStatus');
  const policy = policyOf(bucket, request.service.policies);
  const byPolicy = policy !== undefined && isPublic(policy);
  const grants = decodeGrants(bucket.info.headers[ACL_HEADER]);
  const byAcl =
    acceptsAcls(bucket) &&
    !isBlocked(bucket, 'IgnorePublicAcls') &&
    grants.some(({ grantee }) => isPublicGrantee(grantee));
  const restricted = isBlocked(bucket, 'RestrictPublicBuckets');
  const shown = (byPolicy && !restricted) || byAcl;
  replyXml(request, document('PolicyStatus', leaf('IsPublic', shown)));
}
