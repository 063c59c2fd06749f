/**
 * CreateBucket. The name is claimed across the cluster first, so of two creators one wins; a claim whose
 * container could not be made is its own account's, and making it again succeeds.
 */
import { isBucketName } from '#proxy/bucket-names.ts';
import { VERSIONING_HEADER } from '#proxy/versions/contract.ts';
import { LOCK_HEADER } from '#proxy/versions/lock.ts';
import { ACL_HEADER, mayInAccount } from './access.ts';
import { encodeGrants, grantsOfHeaders, ownerIdOf } from './acl.ts';
import { ownAccount } from './bucket.ts';
import { resourceOf } from './bucket-rules.ts';
import { refuse } from './errors.ts';
import { LOCK_ENABLED } from './lock-configuration.ts';
import { readDocument } from './payload.ts';
import { replyEmpty } from './reply.ts';
import type { S3Request } from './request.ts';
import { policyOfBucket } from './storage-class.ts';
import { readXml, textOf } from './xml-reader.ts';

export async function createBucket(request: S3Request): Promise<void> {
  const account = ownAccount(request);
  const { bucket: container, service } = request;
  const resource = resourceOf(container);
  if (account === undefined || !mayInAccount(request, account, 's3:CreateBucket', resource)) {
    throw refuse('AccessDenied');
  }
  if (!isBucketName(container)) {
    throw refuse('InvalidBucketName', undefined, { BucketName: container });
  }
  const policy = policyOfBucket(request);
  const grants = grantsOfHeaders(request, ownerIdOf(account));
  const locks = request.header('x-amz-bucket-object-lock-enabled')?.toLowerCase() === 'true';
  await checkLocation(request);
  const owner = await service.names.claim(container, account);
  if (owner !== account) throw refuse('BucketAlreadyExists', undefined, { BucketName: container });
  const outcome = await service.store.createContainer(
    request,
    { account, container },
    {
      mode: 'strict',
      changes: {
        ...(grants !== undefined && { [ACL_HEADER]: encodeGrants(grants) }),
        // What is locked can't be overwritten: every write makes a version.
        ...(locks && { [LOCK_HEADER]: LOCK_ENABLED, [VERSIONING_HEADER]: 'Enabled' }),
      },
      ...(policy !== undefined && { policy: policy.index }),
    },
  );
  if (outcome !== 'created') {
    throw refuse('BucketAlreadyOwnedByYou', undefined, { BucketName: container });
  }
  replyEmpty(request, 200, ['Location', `/${container}`]);
}

/** Any region name is taken: buckets live at all sites. @throws S3Error MalformedXML */
async function checkLocation(request: S3Request): Promise<void> {
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  if (body.length === 0) return;
  const location = textOf(readXml(body, 'CreateBucketConfiguration'), 'LocationConstraint');
  if (location !== undefined && !/^[\w.-]{0,64}$/.test(location)) {
    throw refuse('InvalidLocationConstraint', undefined, { LocationConstraint: location });
  }
}
