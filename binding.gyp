{
  "targets": [
    {
      "target_name": "echomimic",
      "product_dir": "<(module_root_dir)/build/gyp",
      "sources": ["<!@(node -p \"require('fs').readFileSync('native/sources.txt','utf8').split(/\\s+/).join(' ')\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "ORT_API_MANUAL_INIT"],
      "variables": {
        "optimise%": "3",
        "headers": "<!(node scripts/onnxruntime-headers.mjs)",
        "node_addon_api": "<!(node -p \"require('path').resolve(require('node-addon-api').include_dir)\")"
      },
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": [
        "-std=c++20",
        "-O<(optimise)",
        "-Wall",
        "-Wextra",
        "-fvisibility=hidden",
        "-isystem<(headers)",
        "-isystem<(node_addon_api)"
      ],
      "xcode_settings": {
        "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
        "CLANG_CXX_LIBRARY": "libc++",
        "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
        "GCC_ENABLE_CPP_RTTI": "YES",
        "GCC_OPTIMIZATION_LEVEL": "<(optimise)",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
        "MACOSX_DEPLOYMENT_TARGET": "13.3",
        "OTHER_CPLUSPLUSFLAGS": [
          "-Wall",
          "-Wextra",
          "-isystem<(headers)",
          "-isystem<(node_addon_api)"
        ]
      }
    }
  ]
}
