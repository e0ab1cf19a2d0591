import sys

from localcloud.aws.server import main

sys.exit(main())
