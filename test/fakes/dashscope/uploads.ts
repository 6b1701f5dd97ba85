import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Ledger } from './ledger.js';
import { type Exchange, act, answer, refuse } from './replies.js';

interface Policy {
  readonly folder: string;
  readonly signature: string;
  readonly expires: number;
}

const keyId = 'LTAIfakefakefake';

/** The upload policy, and the storage that honours each one once. */
export class Uploads {
  readonly #ledger: Ledger;
  readonly #isModel: (model: string) => boolean;
  readonly #maxMegabytes: number;
  readonly #policies = new Map<string, Policy>();
  readonly #files = new Map<string, Buffer>();

  constructor(ledger: Ledger, isModel: (model: string) => boolean, maxMegabytes: number) {
    this.#ledger = ledger;
    this.#isModel = isModel;
    this.#maxMegabytes = maxMegabytes;
  }

  file(key: string): Buffer | undefined {
    return this.#files.get(key);
  }

  policy({ request, response, url }: Exchange): void {
    const model = url.searchParams.get('model');
    const ledger = this.#ledger;
    const stranger = ledger.stranger(request.headers);
    if (stranger !== undefined) return refuse(response, stranger);
    if (url.searchParams.get('action') !== 'getPolicy' || model === null) {
      return refuse(response, ledger.violation('uploads needs action=getPolicy and model'));
    }
    if (!this.#isModel(model)) {
      return refuse(response, { status: 404, code: 'ModelNotFound', message: 'Model not exist.' });
    }
    ledger.requests.push({ kind: 'policy', model });
    act(ledger, ledger.plan.policy.shift(), response, () => {
      const policy = Buffer.from(JSON.stringify({ id: randomUUID() })).toString('base64');
      const folder = `dashscope-instant/${randomUUID().slice(0, 8)}/2026-11-22`;
      const signature = `${randomUUID().slice(0, 8)}+/=`;
      this.#policies.set(policy, { folder, signature, expires: Date.now() + 300_000 });
      answer(response, {
        request_id: randomUUID(),
        data: {
          policy,
          signature,
          upload_dir: folder,
          upload_host: `http://${request.headers.host ?? ''}/oss`,
          expire_in_seconds: 300,
          max_file_size_mb: this.#maxMegabytes,
          capacity_limit_mb: 999_999,
          oss_access_key_id: keyId,
          x_oss_object_acl: 'private',
          x_oss_forbid_overwrite: 'true',
        },
      });
    });
  }

  async store({ request, response, body }: Exchange): Promise<void> {
    const ledger = this.#ledger;
    const wrong = (status: number, code: string, text: string) => {
      ledger.violation(`upload: ${text}`);
      refuseXml(response, status, code, text);
    };
    if (request.headers.authorization !== undefined) {
      return wrong(400, 'InvalidArgument', 'the API key was sent to the storage');
    }
    const type = request.headers['content-type'] ?? '';
    if (!/^multipart\/form-data; ?boundary=/.test(type)) {
      return wrong(400, 'InvalidArgument', `content-type is ${type}`);
    }
    const form = [
      ...(await new Response(new Uint8Array(body), { headers: { 'content-type': type } })
        .formData()
        .catch(() => new FormData())),
    ];
    const [lastName, file] = form.at(-1) ?? ['', ''];
    if (lastName !== 'file' || typeof file === 'string') {
      return wrong(400, 'InvalidArgument', 'the last field is not the file');
    }
    const fields = new Map(form.slice(0, -1) as [string, string][]);
    const policy = this.#policies.get(fields.get('policy') ?? '');
    if (policy === undefined || policy.expires < Date.now()) {
      return wrong(403, 'AccessDenied', 'the policy is unknown, used up or expired');
    }
    if (fields.get('Signature') !== policy.signature || fields.get('OSSAccessKeyId') !== keyId) {
      return wrong(403, 'SignatureDoesNotMatch', 'Signature or OSSAccessKeyId do not fit');
    }
    const key = fields.get('key') ?? '';
    if (!key.startsWith(`${policy.folder}/`) || key.length <= policy.folder.length + 1) {
      return wrong(403, 'AccessDenied', `the key ${key} is not in ${policy.folder}`);
    }
    const expected = [
      ['x-oss-object-acl', 'private'],
      ['x-oss-forbid-overwrite', 'true'],
      ['success_action_status', '200'],
    ] as const;
    const missing = expected.find(([name, value]) => fields.get(name) !== value);
    if (missing !== undefined) return wrong(403, 'AccessDenied', `${missing[0]} does not fit`);
    if (this.#files.has(key)) return wrong(409, 'FileAlreadyExists', `${key} exists`);
    const data = Buffer.from(await file.arrayBuffer());
    if (data.length > this.#maxMegabytes * 1024 * 1024) {
      return wrong(400, 'EntityTooLarge', `the file has ${data.length} bytes`);
    }
    const step = ledger.plan.upload.shift();
    if (step !== undefined && 'refuse' in step) {
      const { status, code, message } = step.refuse;
      return refuseXml(response, status, code, message, policy.signature);
    }
    act(ledger, step, response, () => {
      this.#policies.delete(fields.get('policy') ?? '');
      this.#files.set(key, data);
      ledger.requests.push({ kind: 'upload', key, bytes: data.length });
      response.writeHead(200).end();
    });
  }
}

function refuseXml(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  signature = 'none',
): void {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n  <Code>${code}</Code>\n  <Message>${message}</Message>\n` +
      `  <RequestId>${randomUUID()}</RequestId>\n  <SignatureProvided>${signature}</SignatureProvided>\n</Error>\n`,
  );
}
