import t from 'tap';
import { CodedError, codeOf, errorCodes } from '../../src/errors.js';

t.test('a coded error carries its code, its status and its cause', async (t) => {
  const cause = new Error('disk');
  const error = new CodedError('MODEL_WRITE_FAILED', 'no space left', { cause });
  t.equal(error.code, 'MODEL_WRITE_FAILED');
  t.equal(error.status, errorCodes.MODEL_WRITE_FAILED.status);
  t.equal(error.cause, cause);
});

t.test('codeOf knows our codes only', async (t) => {
  t.equal(codeOf(new CodedError('NOT_FOUND', 'x')), 'NOT_FOUND');
  t.equal(codeOf({ code: 'ENOENT' }), 'INTERNAL');
  t.equal(codeOf({ code: 'toString' }), 'INTERNAL');
  t.equal(codeOf(null), 'INTERNAL');
  t.equal(codeOf({ code: 'ERR_PARSE_ARGS_UNKNOWN_OPTION' }), 'BAD_REQUEST');
});
