import type { common as english } from '../en/common.js';

export const common: typeof english = {
  brand: 'EchoMimic',
  skip: '跳到正文',
  pages: '页面',
  menu: '登录与偏好设置',
  preferences: '偏好设置',
  language: '语言',
  theme: '配色',
  themes: { system: '跟随系统', light: '浅色', dark: '深色' },
  close: '关闭',
  cancel: '取消',
  tryAgain: '重试',
  remove: '删除',
  loading: '正在加载……',
  needsLogin: '本服务器需要登录后才能上传和播放文件。',
  notFound: '没有这个页面。',
  home: '前往对话',
  seconds: (count) => `${count} 秒`,
  minutes: (count) => `${count} 分钟`,
  pageFailed: '页面加载失败。服务器还在运行吗？',
};
