"""MATLAB files on which ``scipy.io.loadmat`` 1.17 ends with a segmentation fault.

Each is a file of savemat with one or two bits flipped.
"""

import base64
import zlib

TABLE = zlib.decompress(
    base64.b64decode(
        "eNrzdQzxcXRSMNUzUPB1DNFNy8xJVQjISSxJyy/KtVIoyC/OrNBRcC5KTSxJTVHIz7NS8M3PU/DLL1MwNlAwNLAy"
        "MbQyMFAwMjAyYyADMHr68gGpDCYGBjYgzQESgkqxIvGZoDQvEBcl5qXEF6QW5cYnJ+YC+SD9Aoy49TNDxWDiIPUB"
        "DAj1fGjqmZDsAwEeIFZA4jNDaSYozUIHcw2QzGVDMxcelFCaE0kfTcOFaWiGCwASjiAF"
    )
)
FEATURES = zlib.decompress(
    base64.b64decode(
        "eNrzdQzxcXRSMNUzUPB1DNFNy8xJVQjISSxJyy/KtVIoyC/OrNBRcC5KTSxJTVHIz7NS8M3PU/DLL1MwNlAwNLAy"
        "MQIiBSMDIzMGMgCjpy8fkJrByMDABqQ5QEJQKVYkPjOUZgfiNKBLSotSGUD6ChgQ+tjQ9DEBMQuSedxA7ADEARa/"
        "K/8mPrE/NZvV35/tlX3JNoU6fZeL9swnTPS9Td/aX5g9N6j61xL7bbIGef2Zj+0PcPvemPdmgn2wwH9tzojn9qTa"
        "ywm1N0Ylf9/1hAf2MZ/5X3B/vWwfqlVx3Sjrnb3MvPKLx8Vv2/OUsVRfKj5kf3ZvhlpXzSv73tBbomHR7+z7igQm"
        "BxrcItvea7NMLznsu2Afs30VC5vJY/s7/47NqJK6bL+UtUorLuC5/Tfbt8rKfK/s/4jWF6nwnrDPaCuee7Z9s73B"
        "2kMHdW3W2AMAjIl2lg=="
    )
)
