"""Pictures, curves, the page of a run.

    visualize   boxes and masks drawn into images; contact sheets
    layers      what fields draw below and above boxes; skeletons: keypoints
    plots       curves
    report      one HTML page
    check_page, offenders
                the page of a check of the data, and its pictures
"""
