import type { account as english } from '../en/account.js';

export const account: typeof english = {
  login: '登录',
  register: '注册',
  logout: '退出',
  which: '登录或注册',
  loggedInAs: (name) => `已登录：${name}`,
  name: '用户名',
  nameHint: '至少 3 个字母或数字。',
  password: '密码',
  passwordHint: '至少 8 个字符。',
};
