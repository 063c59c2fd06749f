/** GetBucketNotificationConfiguration and Put...; the events themselves: src/proxy/notification. */
import { testEventBody } from '#proxy/notification/event.ts';
import { EventQueue } from '#proxy/notification/event-queue.ts';
import {
  decodeNotification,
  encodeNotification,
  NOTIFICATION_HEADER,
  type NotificationRule,
} from '#proxy/notification/rules.ts';
import { authorize } from './access.ts';
import { configure } from './configure.ts';
import { refuse } from './errors.ts';
import { notificationXml, rulesOfXml } from './notification-xml.ts';
import { readDocument } from './payload.ts';
import { replyEmpty, replyXml } from './reply.ts';
import type { S3Request } from './request.ts';
import { document } from './xml.ts';
import { readXml } from './xml-reader.ts';

const ID_BYTES = 16;

export async function getBucketNotification(request: S3Request): Promise<void> {
  const { info } = await authorize(request, 's3:GetBucketNotification');
  const text = info.headers[NOTIFICATION_HEADER];
  const rules = text === undefined ? [] : decodeNotification(text);
  replyXml(request, document('NotificationConfiguration', notificationXml(rules)));
}

export async function putBucketNotification(request: S3Request): Promise<void> {
  const bucket = await authorize(request, 's3:PutBucketNotification');
  const { env, limits, store } = request.service;
  const body = await readDocument(request, limits.maxDocumentBytes);
  const newId = (): string => env.random.bytes(ID_BYTES).toString('hex');
  const rules = rulesOfXml(readXml(body, 'NotificationConfiguration'), newId);
  checkReceivers(request, rules);
  const text = rules.length === 0 ? null : encodeNotification(rules);
  await configure(request, bucket, { [NOTIFICATION_HEADER]: text });
  const queue = new EventQueue(env, store);
  const test = testEventBody(request, bucket.container, request.nowMicros);
  for (const url of new Set(rules.map((rule) => rule.url))) {
    await queue.add(request, bucket, { url, body: test });
  }
  replyEmpty(request, 200);
}

/** @throws S3Error InvalidArgument: not on the operator's list */
function checkReceivers(request: S3Request, rules: readonly NotificationRule[]): void {
  const refused = rules.find(({ url }) => !request.service.mayNotify(url));
  if (refused === undefined) return;
  throw refuse('InvalidArgument', 'Unable to validate the following destination configurations', {
    ArgumentName: refused.arn,
    ArgumentValue: 'The receiver is not on the list of this store',
  });
}
