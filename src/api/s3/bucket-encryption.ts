/** PutBucketEncryption, GetBucketEncryption, DeleteBucketEncryption: what a write is that says nothing. */
import {
  ENCRYPTION_HEADER,
  type EncryptionRule,
  encryptionRule,
} from '#proxy/encryption/default-encryption.ts';
import { authorize } from './access.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document, element, leaf } from './xml.ts';
import {
  child,
  children,
  onlyChildren,
  readXml,
  requiredText,
  textOf,
  type XmlElement,
} from './xml-reader.ts';

const ROOT = 'ServerSideEncryptionConfiguration';
const BY_DEFAULT = 'ApplyServerSideEncryptionByDefault';
const MAX_KEY_ID = 2048;

export async function getBucketEncryption(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:GetEncryptionConfiguration');
  const rule = encryptionRule(bucket.info);
  if (rule === undefined) {
    throw refuse('ServerSideEncryptionConfigurationNotFoundError', undefined, {
      BucketName: request.bucket,
    });
  }
  const byDefault = leaf('SSEAlgorithm', rule.algorithm) + leaf('KMSMasterKeyID', rule.keyName);
  const content =
    element(BY_DEFAULT, byDefault) + leaf('BucketKeyEnabled', rule.bucketKey === true);
  replyXml(request, document(ROOT, element('Rule', content)));
}

export async function putBucketEncryption(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutEncryptionConfiguration');
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const rule = ruleOf(readXml(body, ROOT));
  await configure(request, bucket, { [ENCRYPTION_HEADER]: JSON.stringify(rule) });
  replyEmpty(request, 200);
}

export async function deleteBucketEncryption(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutEncryptionConfiguration');
  await configure(request, bucket, { [ENCRYPTION_HEADER]: null });
  replyEmpty(request, 204);
}

/** @throws S3Error MalformedXML, InvalidArgument, NotImplemented */
function ruleOf(root: XmlElement): EncryptionRule {
  onlyChildren(root, ['Rule']);
  const rules = children(root, 'Rule');
  const [rule] = rules;
  if (rule === undefined || rules.length > 1) throw refuse('MalformedXML');
  onlyChildren(rule, [BY_DEFAULT, 'BucketKeyEnabled', 'BlockedEncryptionTypes']);
  refuseBlocking(rule);
  const wanted = child(rule, BY_DEFAULT);
  if (wanted === undefined) throw refuse('MalformedXML');
  onlyChildren(wanted, ['SSEAlgorithm', 'KMSMasterKeyID']);
  const algorithm = requiredText(wanted, 'SSEAlgorithm').trim();
  if (algorithm === 'aws:kms:dsse') {
    throw refuse('NotImplemented', undefined, { Header: 'SSEAlgorithm' });
  }
  if (algorithm !== 'AES256' && algorithm !== 'aws:kms') throw refuse('MalformedXML');
  const keyName = textOf(wanted, 'KMSMasterKeyID')?.trim();
  if (keyName !== undefined && algorithm !== 'aws:kms') {
    throw refuse(
      'InvalidArgument',
      'a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms',
      { ArgumentName: 'ApplyServerSideEncryptionByDefault' },
    );
  }
  if (keyName !== undefined && (keyName === '' || keyName.length > MAX_KEY_ID)) {
    throw refuse('InvalidArgument');
  }
  const bucketKey = bucketKeyOf(rule);
  return {
    algorithm,
    ...(keyName !== undefined && { keyName }),
    ...(bucketKey && { bucketKey }),
  };
}

function bucketKeyOf(rule: XmlElement): boolean {
  const text = textOf(rule, 'BucketKeyEnabled')?.trim();
  if (text === undefined || text === 'false') return false;
  if (text === 'true') return true;
  throw refuse('MalformedXML');
}

/** Nothing is blocked here; who asks for it is told so. */
function refuseBlocking(rule: XmlElement): void {
  const blocked = child(rule, 'BlockedEncryptionTypes');
  const types = blocked === undefined ? [] : children(blocked, 'EncryptionType');
  if (types.some(({ text }) => text.trim() !== 'NONE')) {
    throw refuse('NotImplemented', undefined, { Header: 'BlockedEncryptionTypes' });
  }
}
