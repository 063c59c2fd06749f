/** Events as S3 writes them, so that what reads S3's reads these. */
import type { ObjectName } from '#base/names.ts';
import type { Operation } from '../contract.ts';
import type { NotificationRule } from './rules.ts';

export interface ObjectEvent {
  /** `ObjectCreated:Put` */
  readonly name: string;
  readonly object: ObjectName;
  readonly micros: number;
  readonly size?: number;
  readonly etag?: string;
  readonly versionId?: string | undefined;
}

const EVENT_VERSION = '2.1';
const HEX_DIGITS = 16;

export function eventBody(
  operation: Pick<Operation, 'txn' | 'by'>,
  region: string,
  { name, object, micros, size, etag, versionId }: ObjectEvent,
  { id }: NotificationRule,
): unknown {
  const { txn, by } = operation;
  const { account, container, object: key } = object;
  const record = {
    eventVersion: EVENT_VERSION,
    eventSource: 'aws:s3',
    awsRegion: region,
    eventTime: new Date(Math.floor(micros / 1000)).toISOString(),
    eventName: name,
    userIdentity: { principalId: by?.principal ?? account },
    requestParameters: { sourceIPAddress: by?.address ?? '' },
    responseElements: { 'x-amz-request-id': txn, 'x-amz-id-2': txn },
    s3: {
      s3SchemaVersion: '1.0',
      configurationId: id,
      bucket: {
        name: container,
        ownerIdentity: { principalId: account },
        arn: `arn:aws:s3:::${container}`,
      },
      object: {
        key: encodedKey(key),
        ...(size !== undefined && { size }),
        ...(etag !== undefined && { eTag: etag }),
        ...(versionId !== undefined && { versionId }),
        // Of two events of one key the later one has the greater text.
        sequencer: micros.toString(16).toUpperCase().padStart(HEX_DIGITS, '0'),
      },
    },
  };
  return { Records: [record] };
}

/** What a receiver is sent when it is named. */
export function testEventBody(
  { txn }: Pick<Operation, 'txn'>,
  bucket: string,
  micros: number,
): unknown {
  const Time = new Date(Math.floor(micros / 1000)).toISOString();
  const ids = { RequestId: txn, HostId: txn };
  return { Service: 'Amazon S3', Event: 's3:TestEvent', Time, Bucket: bucket, ...ids };
}

/** As in forms: a blank is `+`. */
function encodedKey(key: string): string {
  return encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/');
}
